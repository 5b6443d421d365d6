#!/usr/bin/env python3
"""Times one outer step of ours beside learn2learn's and others', on the same tasks."""

from __future__ import annotations

import sys

from mamlbench.benchmark.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
