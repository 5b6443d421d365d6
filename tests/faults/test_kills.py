"""kill -9 at every step of a write, and amid the bytes: no file is ever half-written."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import runs
import torch

from mamlbench import checkpoint, files, locks
from mamlbench.compose import experiment
from mamlbench.loggers import CSVLogger, RunInfo, csv_logger

WRITING = {module.__file__ for module in (checkpoint, files, csv_logger, locks)}
"""The source files of the code that writes; the instants of a kill are their lines."""


def in_a_child(work: Callable[[], None]) -> int:
    """The exit code of a child process that does only `work`; negative if a signal ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(instant: int, work: Callable[[], None]) -> Callable[[], None]:
    """`work`, ended by kill -9 just before the line number `instant` of `WRITING` that it runs."""

    def run() -> None:
        begun = 0

        def trace(frame, event, argument):
            nonlocal begun
            if frame.f_code.co_filename not in WRITING:
                return None
            if event == "line":
                begun += 1
                if begun == instant:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        work()
        sys.settrace(None)

    return run


def lines_of(work: Callable[[], None]) -> int:
    """How many lines of `WRITING` `work` runs."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename not in WRITING:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def a_state(iteration: int) -> dict[str, object]:
    return {"iteration": iteration, "weights": torch.full((50,), float(iteration))}


def save(folder: Path, iteration: int) -> None:
    checkpoint.save(folder / "checkpoint.pt", a_state(iteration), folder / "checkpoint_before.pt")


def test_at_every_line_of_saving_a_checkpoint(tmp_path):
    for iteration in (1, 2):
        save(tmp_path, iteration)
    instants = lines_of(lambda: save(tmp_path / "scratch", 3))
    assert instants > 20
    seen = set()
    for instant in range(1, instants + 1):
        assert in_a_child(killed_at(instant, lambda: save(tmp_path, 3))) == -signal.SIGKILL
        names = {p.name: checkpoint.load(p)["iteration"] for p in tmp_path.glob("*.pt")}
        state = checkpoint.load_newest(
            tmp_path / "checkpoint.pt", tmp_path / "checkpoint_before.pt"
        )
        assert torch.equal(state["weights"], a_state(state["iteration"])["weights"])
        assert state["iteration"] == max(names.values())
        seen.add((names.get("checkpoint.pt"), names["checkpoint_before.pt"]))
        files.remove_leftovers(tmp_path)
        for iteration in (1, 2):
            save(tmp_path, iteration)
    # killed before the two replacements of files, between them, and after them
    assert seen == {(2, 1), (None, 2), (3, 2)}


@pytest.mark.parametrize("bytes_written", [1, 100, 700, 1200])
def test_in_the_middle_of_a_checkpoints_bytes(tmp_path, bytes_written):
    """The kernel ends the process at this file size, like a kill in the middle of a write."""
    save(tmp_path, 1)

    def killed_in_the_middle() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_written, bytes_written))
        save(tmp_path, 2)

    assert in_a_child(killed_in_the_middle) == -signal.SIGXFSZ
    [part] = tmp_path.glob(".*.tmp")
    assert part.stat().st_size == bytes_written
    assert checkpoint.load(tmp_path / "checkpoint.pt")["iteration"] == 1


def log(folder: Path, iteration: int, metrics: dict[str, float]) -> None:
    """Continue a log after `iteration` and add a row."""
    logger = CSVLogger()
    logger.start(RunInfo(folder, "run", "abc-0", {}, iteration, 100))
    logger.log(iteration + 1, metrics)
    logger.close()


@pytest.mark.parametrize(("metrics", "apart"), [({"a": 0.5}, 2), ({"a": 0.5, "b": 0.25}, 5)])
def test_at_the_lines_of_writing_a_log(tmp_path, metrics, apart):
    """With a row, and with a row that adds a column."""
    for iteration in range(3):
        log(tmp_path, iteration, {"a": float(iteration)})
    whole = (tmp_path / "metrics.csv").read_bytes()
    log(tmp_path, 3, metrics)
    after = (tmp_path / "metrics.csv").read_bytes()
    (tmp_path / "metrics.csv").write_bytes(whole)
    instants = lines_of(lambda: log(tmp_path, 3, metrics))
    assert instants > 40
    for instant in range(1, instants + 1, apart):
        (tmp_path / "metrics.csv").write_bytes(whole)
        code = in_a_child(killed_at(instant, lambda: log(tmp_path, 3, metrics)))
        assert code == -signal.SIGKILL
        rows = csv_logger._rows(tmp_path / "metrics.csv")
        assert [row[:2] for row in rows[1:4]] == [["1", "0.0"], ["2", "1.0"], ["3", "2.0"]]
        log(tmp_path, 3, metrics)  # as a restart does
        assert (tmp_path / "metrics.csv").read_bytes() == after


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_a_run_killed_where_it_writes_ends_byte_equal(tmp_path):
    settings = ["training.iterations=12", "training.log_every=2", "training.validate_every=3"]
    settings += ["training.checkpoint_every=4", "evaluation.select=best"]
    whole = experiment(runs.overrides(tmp_path / "a", "maml", "sinusoid", *settings))
    instants = lines_of(whole.run)

    arguments = runs.overrides(tmp_path / "b", "maml", "sinusoid", *settings)
    for instant in range(instants // 7, instants, instants // 7):
        work = killed_at(instant, lambda: experiment(arguments).run() and None)
        assert in_a_child(work) in (-signal.SIGKILL, 0)
    last = experiment(arguments)
    last.run()
    expected, found = runs.result(whole.folder.path), runs.result(last.folder.path)
    expected["summary"]["command"] = found["summary"]["command"]
    assert found == expected
    assert runs.files_below(last.folder.path) == runs.files_below(whole.folder.path)
