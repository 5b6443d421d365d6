"""The command line of `scripts/benchmark.py`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mamlbench.benchmark import measure, scaling
from mamlbench.benchmark.rivals import implementations
from mamlbench.benchmark.roofline import Machine, arithmetic
from mamlbench.benchmark.works import WORKS, Work
from mamlbench.errors import UserError, did_you_mean
from mamlbench.files import write_atomically
from mamlbench.hardware import Hardware

AGREE = 1e-8  # in float64


def main(arguments: Sequence[str]) -> int:
    """Run the command line, its script's name first; gives the exit code."""
    script, *rest = arguments
    options = _parser().parse_args(rest)
    try:
        hardware = Hardware(device=options.device, threads=options.threads)
        if options.alone:
            name, label = options.alone
            return _alone(name, label, hardware)
        works = {name: _work(name) for name in options.works or WORKS}
        if options.scaling:
            scaling.run(Path(options.out), hardware, options.repeats)
            return 0
        return _compare(script, works, hardware, options)
    except UserError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmark.py",
        description="Time one outer step of ours beside learn2learn's and plain vmap's.",
        epilog="works: " + "; ".join(f"{name}: {work.title}" for name, work in WORKS.items()),
    )
    parser.add_argument("works", nargs="*", help="which works (default: all)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each (default: 7)")
    parser.add_argument("--seconds", type=float, default=1.0, help="a turn's length (default: 1)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: as a run)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--out", default="outputs/benchmark", help="folder for CSV and figure")
    parser.add_argument("--scaling", action="store_true", help="time by tasks, steps, ways, size")
    parser.add_argument("--only-times", action="store_true", help="neither memory nor roofline")
    parser.add_argument("--alone", nargs=2, metavar=("WORK", "WHO"), help=argparse.SUPPRESS)
    return parser


def _work(name: str) -> Work:
    if name not in WORKS:
        raise UserError(f"{name}: no such work{did_you_mean(name, WORKS)}")
    return WORKS[name]


def _alone(name: str, label: str, hardware: Hardware) -> int:
    work = _work(name)
    hardware.apply(work.values)
    cost = measure.alone(work, label, hardware)
    print(json.dumps({"first_step": cost.first_step, "peak": cost.peak}))
    return 0


def _compare(
    script: str, works: dict[str, Work], hardware: Hardware, options: argparse.Namespace
) -> int:
    rows: list[dict[str, Any]] = []
    machine = None if options.only_times else Machine.measured(hardware)
    if machine is not None:
        print(machine, flush=True)
    code = 0
    for name, work in works.items():
        hardware.apply(work.values)
        apart = measure.disagreement(work, _in_float64(hardware))
        for rival, distance in apart.items():
            if not distance < AGREE:
                print(f"{name}: {rival}'s meta-gradient is another one (by {distance:.1e})")
                code = 1
        kinds = implementations(work)
        built = [kind(work, hardware) for kind in kinds]
        for implementation in built:
            implementation.step()
        times = measure.seconds(built, options.repeats, options.seconds)
        ours = measure.median(times[built[0].label])
        for implementation in built:
            label = implementation.label
            median = measure.median(times[label])
            row: dict[str, Any] = {
                "work": name,
                "who": label,
                "milliseconds": median * 1e3,
                "fastest": min(times[label]) * 1e3,
                "ratio": median / ours,
                "disagreement": apart.get(label),
                "threads": torch.get_num_threads(),
            }
            if machine is not None:
                cost = measure.cost(script, name, label, _passed_on(options))
                row |= {"first_step": cost.first_step, "peak_mib": cost.peak}
                if implementation is built[0]:
                    row |= machine.reached(arithmetic(implementation.step), median)
            rows.append(row)
            print(_line(row), flush=True)
        reached = measure.median(times[built[1].label]) / ours
        print(f"{name}: {work.title}: {reached:.2f} times {built[1].label}", end="")
        print(f" (aim {work.ratio:g})\n" if work.ratio else "\n", flush=True)
    out = Path(options.out) / "benchmark.csv"
    write_atomically(out, pd.DataFrame(rows).to_csv(index=False))
    print(f"table: {out}")
    return code


def _in_float64(hardware: Hardware) -> Hardware:
    return replace(hardware, precision="float64")


def _passed_on(options: argparse.Namespace) -> list[str]:
    threads = [] if options.threads is None else ["--threads", str(options.threads)]
    return ["--device", options.device, *threads]


def _line(row: dict[str, Any]) -> str:
    parts = [
        f"{row['work']:24s} {row['who']:12s} {row['milliseconds']:9.2f} ms",
        f"x{row['ratio']:.2f}",
    ]
    if "peak_mib" in row:
        parts += [f"first step {row['first_step']:.2f} s", f"peak +{row['peak_mib']:.0f} MiB"]
    if "gflops" in row:
        parts.append(f"{row['gflops']:.0f} GFLOP/s, {row['of_matmul_rate']:.0%} of the matmul rate")
    return "  ".join(parts)
