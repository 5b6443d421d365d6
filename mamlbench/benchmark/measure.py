"""Times, memory and agreement of several implementations of one work."""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mamlbench.benchmark.rivals import Implementation, implementations
from mamlbench.benchmark.works import Work
from mamlbench.hardware.device import Hardware


@dataclass(frozen=True)
class Cost:
    """What a fresh process needs for a work.

    Attributes:
        first_step: seconds of the first outer step, after the learner is built.
        peak: memory in MiB that the first three outer steps add to the process at their peak; on a
            GPU, that they add to its allocations.
    """

    first_step: float
    peak: float


def disagreement(work: Work, hardware: Hardware) -> dict[str, float]:
    """Distance of each rival's meta-gradient b from ours, a: |a - b| / |b| over all parameters."""
    ours, *rivals = implementations(work)
    with_ = ours(work, hardware).meta_gradient()
    return {
        rival.label: _distance(with_, rival(work, hardware).meta_gradient()) for rival in rivals
    }


def _distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    if ours.keys() != theirs.keys():
        raise AssertionError(f"different parameters: {sorted(ours)} and {sorted(theirs)}")
    difference = sum(float((ours[n] - theirs[n]).square().sum()) for n in ours)
    size = sum(float(g.square().sum()) for g in theirs.values())
    return (difference / size) ** 0.5


def warm(rivals: Sequence[Implementation]) -> None:
    """Make each take its first steps, which are not like later ones."""
    for rival in list(rivals) * 3:  # ours is replayed from its third step on
        rival.step()


def seconds(
    rivals: Sequence[Implementation], repeats: int, at_least: float
) -> dict[str, list[float]]:
    """Seconds of one outer step; implementations take turns so that all see the same machine.

    Args:
        rivals: the implementations to time, already warm.
        repeats: turns of each.
        at_least: a turn repeats the step for this many seconds and gives the mean.
    """
    times: dict[str, list[float]] = {rival.label: [] for rival in rivals}
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            for rival in rivals:
                times[rival.label].append(_turn(rival, at_least))
    finally:
        gc.enable()
    return times


def _turn(rival: Implementation, at_least: float) -> float:
    done, began = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - began < at_least:
        rival.step()
        done += 1
    _wait()
    return (time.perf_counter() - began) / done


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def cost(script: str, work: str, label: str, options: Sequence[str]) -> Cost:
    """The cost of a work in a process that does nothing else (`script --alone WORK LABEL`).

    Raises:
        RuntimeError: the process failed; with the last line of its stderr.
    """
    command = [sys.executable, script, "--alone", work, label, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{label} on {work}: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Cost(found["first_step"], found["peak"])


def alone(work: Work, label: str, hardware: Hardware) -> Cost:
    """The cost of a work in this process, which must be fresh."""
    kind = next(i for i in implementations(work) if i.label == label)
    implementation = kind(work, hardware)
    on_gpu = hardware.torch_device.type == "cuda"
    before = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _resident_peak()
    began = time.perf_counter()
    implementation.step()
    _wait()
    first = time.perf_counter() - began
    for _ in range(2):
        implementation.step()
    after = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _resident_peak()
    return Cost(first, after - before)


def _resident_peak() -> float:
    """Peak in MiB; not from getrusage on Linux, where a process inherits its parent's peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) / 1024
