"""The command line of `scripts/benchmark.py`."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mamlbench.benchmark import measure, scaling
from mamlbench.benchmark.rivals import Ours, implementations
from mamlbench.benchmark.roofline import arithmetic, convolution_rate, matmul_rate, reached
from mamlbench.benchmark.works import WORKS, Work
from mamlbench.cli.arguments import OneLineParser, exit_code_of
from mamlbench.errors import UserError, did_you_mean
from mamlbench.files import write_atomically
from mamlbench.hardware.device import Hardware

AGREE = 1e-8  # in float64
TABLES = Path("outputs") / "benchmark"


def main(arguments: Sequence[str]) -> int:
    """Run the command line, which starts with the script's name; returns the exit code."""
    script, *rest = arguments
    return exit_code_of("benchmark.py", lambda: _run(script, rest))


def _run(script: str, arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: accepted is 1 or more")
    if options.scaling and (options.works or options.only_times or options.seconds is not None):
        parser.error("--scaling: accepted with it are no works, --seconds or --only-times")
    hardware = Hardware(
        device=options.device,
        precision=options.precision,
        threads=options.threads,
        compile=options.compile,
    )
    if options.alone:
        name, label = options.alone
        return _alone(name, label, hardware)
    works = {name: _work(name) for name in options.works or WORKS}
    options.csv = options.csv or TABLES / f"{'scaling' if options.scaling else 'benchmark'}.csv"
    if options.scaling:
        scaling.run(options.csv, hardware, options.repeats)
        return 0
    return _compare(script, works, hardware, options)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        "benchmark.py",
        description="Time one outer step of mamlbench, learn2learn and plain vmap.",
        epilog="works: " + "; ".join(f"{name}: {work.title}" for name, work in WORKS.items()),
    )
    parser.add_argument("works", nargs="*", help="which works (default: all)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each (default: 7)")
    parser.add_argument("--seconds", type=float, default=None, help="a turn's length (default: 1)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: as a run)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--precision", default="float32", help="or tf32, on a GPU; applies to all")
    parser.add_argument("--compile", action="store_true", help="ours with hardware.compile=true")
    parser.add_argument("--csv", type=Path, help=f"the table to write (default: {TABLES}/...)")
    parser.add_argument(
        "--scaling", action="store_true", help="time by tasks, inner steps, ways and image size"
    )
    parser.add_argument("--only-times", action="store_true", help="neither memory nor roofline")
    parser.add_argument("--alone", nargs=2, metavar=("WORK", "WHO"), help=argparse.SUPPRESS)
    return parser


def _work(name: str) -> Work:
    if name not in WORKS:
        raise UserError(f"{name}: accepted is {', '.join(WORKS)}{did_you_mean(name, WORKS)}")
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
    cases, agree = [], True
    for name, work in works.items():
        hardware.apply(work.values)
        print(f"{name}: {work.title}", flush=True)
        case = {"case": name} | _timed(work, hardware, options)
        if not options.only_times:
            case |= _costs(script, name, work, hardware, options)
            eager = Ours(work, replace(hardware, replay=False))  # torch counts no replayed steps
            ours = Ours(work, hardware)
            measure.warm([ours])
            operations = arithmetic(eager.step)
            convolutions = convolution_rate(eager.step, ours.step)
            matmul = matmul_rate(hardware)  # right after, because the machine may be shared
            case |= reached(matmul, operations, case["ours_s"], convolutions)
        agree &= case["max_grad_diff"] < AGREE
        cases.append(case)
        print(_lines(case, work), "\n", flush=True)
    write_atomically(options.csv, pd.DataFrame(cases).to_csv(index=False))
    print(f"table: {options.csv}")
    return 0 if agree else 1


def _timed(work: Work, hardware: Hardware, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds per step of each implementation, and the ratio of the first rival's to ours."""
    apart = measure.disagreement(work, replace(hardware, precision="float64"))
    built = [kind(work, hardware) for kind in implementations(work)]
    measure.warm(built)
    turn = 1.0 if options.seconds is None else options.seconds
    times = measure.seconds(built, options.repeats, turn)
    medians = {one.column: statistics.median(times[one.label]) for one in built}
    first_rival = medians[built[1].column]
    return {
        "ours_s": medians["ours"],
        "learn2learn_s": medians.get("learn2learn"),
        "ratio": first_rival / medians["ours"],
        "max_grad_diff": max(apart.values()),
        "threads": torch.get_num_threads(),
        "device": hardware.name,
    } | {f"{column}_s": median for column, median in medians.items()}


def _costs(
    script: str, name: str, work: Work, hardware: Hardware, options: argparse.Namespace
) -> dict[str, float]:
    found = {}
    for kind in implementations(work):
        cost = measure.cost(script, name, kind.label, _passed_on(options))
        found[f"{kind.column}_first_step_s"] = cost.first_step
        found[f"{kind.column}_peak_mib"] = cost.peak
    return found


def _lines(case: dict[str, Any], work: Work) -> str:
    lines = []
    for kind in implementations(work):
        seconds = case[f"{kind.column}_s"]
        line = f"  {kind.label:12s} {seconds * 1e3:9.2f} ms  x{seconds / case['ours_s']:.2f}"
        if f"{kind.column}_peak_mib" in case:
            line += f"  first step {case[f'{kind.column}_first_step_s']:.2f} s"
            line += f"  peak +{case[f'{kind.column}_peak_mib']:.0f} MiB"
        lines.append(line)
    if "gflops" in case:
        rate = f"{case['gflops']:.0f} of {case['matmul_gflops']:.0f} GFLOP/s"
        rate += f", {case['of_matmul_rate']:.0%} of the matmul rate"
        if "convolutions_of_matmul_rate" in case:
            rate += f"; convolutions alone {case['convolutions_of_matmul_rate']:.0%}"
        lines.append(f"  {case['gflop']:.1f} GFLOP a step: {rate}")
    lines.append(f"  {case['ratio']:.2f} times as fast as {implementations(work)[1].label}")
    lines.append(f"  meta-gradients differ by at most {case['max_grad_diff']:.0e}, in float64")
    return "\n".join(lines)


def _passed_on(options: argparse.Namespace) -> list[str]:
    threads = [] if options.threads is None else ["--threads", str(options.threads)]
    compiled = ["--compile"] if options.compile else []
    return ["--device", options.device, "--precision", options.precision, *threads, *compiled]
