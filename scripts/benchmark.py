#!/usr/bin/env python3
"""Times an outer step of mamlbench, learn2learn and other code on the same tasks."""

from __future__ import annotations

import sys

from mamlbench.benchmark.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
