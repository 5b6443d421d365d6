"""Helpers for tests of whole runs: tiny runs, their results, and ways to interrupt them."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from mamlbench import training
from mamlbench.compose import experiment
from mamlbench.errors import UserError
from mamlbench.experiment import Experiment
from mamlbench.native import why_not

TINY = {
    "sinusoid": [
        "dataset=sinusoid",
        "network.hidden=[8]",
        "training.meta_batch_size=3",
        "evaluation.tasks=8",
        "evaluation.inner_steps=2",
        "evaluation.validation_tasks=4",
        "evaluation.queries=5",
    ],
    "glyphs": [
        "dataset=glyphs",
        "network.filters=4",
        "dataset.train_shots=2",
        "dataset.queries=1",
        "training.meta_batch_size=2",
        "evaluation.tasks=4",
        "evaluation.inner_steps=2",
        "evaluation.validation_tasks=3",
        "evaluation.queries=1",
    ],
}


RUN = [*TINY["sinusoid"], "logger=csv", "hardware.threads=1", "training.iterations=2"]
"""Overrides of a very short run on sinusoids."""


def lacking(what: str) -> NoReturn:
    """Skip a test because this machine lacks something; under CI the test fails."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"CI is set, and {what}")
    pytest.skip(what)


def needing_kernels() -> None:
    """As `lacking`, if the compiled kernels are missing."""
    if why := why_not():
        lacking(f"there are no compiled kernels: {why}")


def needing_simulator(name: str) -> None:
    """Skip a test of a dataset or experiment that MuJoCo simulates, if MuJoCo is missing."""
    if re.search("_(dir|vel|goal)(_|$)", name):
        pytest.importorskip("mujoco")


@contextmanager
def without_figures() -> Iterator[None]:
    """Skip figures, which take most of the time of a tiny run and have their own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mamlbench.figures.of_run.draw_figures", lambda *arguments: None)
        yield


def files_below(folder: Path) -> list[str]:
    """Relative names of all files and empty folders."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() or not any(path.iterdir())
    )


def overrides(outputs: Path, algorithm: str, dataset: str, *more: str) -> list[str]:
    """The command line of a tiny run below `outputs`."""
    return [
        f"outputs={outputs}",
        f"algorithm={algorithm}",
        *TINY[dataset],
        "logger=csv",
        "hardware.threads=1",
        *more,
    ]


def result(folder: Path) -> dict[str, object]:
    """The results of a finished run that must not depend on how often it was interrupted."""
    with (folder / "metrics.csv").open() as file:
        metrics = [
            {k: v for k, v in row.items() if k != "tasks_per_second"}
            for row in csv.DictReader(file)
        ]
    summary = json.loads((folder / "summary.json").read_text())
    del summary["train"]["seconds"], summary["train"]["tasks_per_second"]
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    parameters = {
        name: value.cpu().numpy().tobytes() if isinstance(value, torch.Tensor) else value
        for name, value in state["learner"].items()
    }
    tests = (folder / "test_tasks.csv").read_bytes()
    return {"metrics": metrics, "summary": summary, "parameters": parameters, "tests": tests}


def _command(arguments: list[str], started: object) -> None:
    from mamlbench.cli.main import main

    os.setpgrp()
    sys.argv = ["mamlbench", *arguments]
    started.set()
    main()


def context() -> multiprocessing.context.BaseContext:
    """A context for processes that start with torch and mamlbench already imported."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["mamlbench.compose", "mamlbench.cli.main", "torch._dynamo"])
    return server


def stop_at(run: Experiment, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run in this process receive SIGTERM during its outer step `step`, counted from 1."""
    original, done = run.learner.meta_step, []

    def stopping(tasks: object) -> object:
        done.append(tasks)
        if len(done) == step:
            signal.raise_signal(signal.SIGTERM)
        return original(tasks)

    monkeypatch.setattr(run.learner, "meta_step", stopping)


def script_validation(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let successive meta-validations return these values of the MSE."""
    real, coming = training.evaluate, iter(values)

    def scripted(*args: object, **kwargs: object) -> object:
        scores = real(*args, **kwargs)
        scores.by_task["mse"][:] = next(coming)
        return scores

    monkeypatch.setattr(training, "evaluate", scripted)


def saved_at(folder: Path) -> int:
    """When the last checkpoint was saved, in ns; 0 without one, which happens for an instant while
    a new checkpoint replaces the previous one."""
    with suppress(FileNotFoundError):
        return (folder / "checkpoint.pt").stat().st_mtime_ns
    return 0


class Command:
    """`mamlbench <arguments>` in a separate process."""

    def __init__(self, arguments: list[str]) -> None:
        started = context().Event()
        self.process = context().Process(target=_command, args=(arguments, started))
        self.process.start()
        assert started.wait(60)

    def wait(self) -> int:
        """Wait for its exit code, which is negative if a signal ended it."""
        self.process.join(120)
        assert self.process.exitcode is not None, "still running after 120 s"
        return self.process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Send it a signal if it is still running."""
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    def wait_for(self, path: Path) -> None:
        """Wait until `path` exists or the command has ended."""
        while self.process.is_alive() and not path.exists():
            time.sleep(0.005)


def begun(arguments: list[str]) -> Experiment:
    """The run of these arguments; skips the test if the algorithm is not installed."""
    try:
        return experiment(arguments)
    except UserError as error:
        if "learn2learn" not in str(error):
            raise
        pytest.skip(str(error))
