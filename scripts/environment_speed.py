#!/usr/bin/env python3
"""Measures steps per second of our environments and gymnasium's."""

from __future__ import annotations

import sys

from mamlbench.benchmark.environments import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
