import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from mamlbench.loggers import ConsoleProgress, Logger, Loggers, RunInfo


def console(terminal, width=100):
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, _environ={}
    )


def run_info(iteration=0):
    return RunInfo(Path(), "maml [5way]", "abc-0", {}, iteration, 400)


def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_each_logged_iteration_is_a_plain_line(monkeypatch):
    now, out = clock(monkeypatch), console(terminal=False, width=20)
    with Loggers([ConsoleProgress(out)]) as loggers:
        loggers.start(run_info(iteration=100))
        now[0] += 50
        loggers.progress(150)
        loggers.log(200, {"train/loss": 0.12345678, "val/mse": 2.0, "val/mse_ci95": 0.1})
        now[0] += 50
        loggers.log(300, {"train/loss": 1e-7, "tasks_per_second": 12345.6})
    assert out.file.getvalue() == (
        "200/400  0:01:40 left  train/loss 0.1235  val/mse 2\n"
        "300/400  0:00:50 left  12,346 tasks/s  train/loss 1e-07\n"
    )


def test_on_a_terminal_a_bar_shows_the_last_known_of_each_metric():
    out = console(terminal=True)
    with Loggers([ConsoleProgress(out)]) as loggers:
        loggers.start(run_info())
        loggers.log(100, {"train/loss": 0.5, "val/accuracy": 0.75})
        loggers.log(200, {"train/loss": 0.25, "tasks_per_second": 12.3})
        loggers.progress(400)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.file.getvalue()).strip().splitlines()
    last = lines[-1].split("\r")[-1]
    assert last.startswith("maml [5way]")
    assert "400/400  0:00:00 left" in last
    assert "train/loss 0.25  val/accuracy 0.75" in last
    assert "\x1b[?25h" in out.file.getvalue()  # the cursor is shown again


def test_a_long_test_prints_a_line_twice_a_minute_where_there_is_no_bar(monkeypatch):
    now, out = clock(monkeypatch), console(terminal=False)
    with Loggers([ConsoleProgress(out)]) as loggers:
        loggers.start(run_info())
        loggers.log(400, {"train/loss": 0.5})
        now[0] += 999
        for tasks in range(0, 10_001, 1_000):
            loggers.tested(tasks, 10_000)
            now[0] += 12
    assert out.file.getvalue() == (
        "400/400  0:00:00 left  train/loss 0.5\n"
        "tested 3,000 of 10,000 tasks  0:01:24 left\n"
        "tested 6,000 of 10,000 tasks  0:00:48 left\n"
        "tested 9,000 of 10,000 tasks  0:00:12 left\n"
    )


def test_the_time_left_of_a_test_that_goes_on_knows_where_it_went_on(monkeypatch):
    now, out = clock(monkeypatch), console(terminal=False)
    with Loggers([ConsoleProgress(out)]) as loggers:
        loggers.start(run_info())
        for tasks in (500, 510):
            loggers.tested(tasks, 600)
            now[0] += 100
    assert out.file.getvalue() == "tested 510 of 600 tasks  0:15:00 left\n"


def test_a_short_test_prints_nothing(monkeypatch):
    now, out = clock(monkeypatch), console(terminal=False)
    with Loggers([ConsoleProgress(out)]) as loggers:
        loggers.start(run_info())
        for tasks in (0, 300, 600):
            loggers.tested(tasks, 600)
            now[0] += 10
    assert out.file.getvalue() == ""


def test_on_a_terminal_the_bar_is_the_tests_when_training_is_done():
    out = console(terminal=True)
    with Loggers([ConsoleProgress(out)]) as loggers:
        loggers.start(run_info())
        loggers.log(400, {"train/loss": 0.5})
        for tasks in (0, 300, 600):
            loggers.tested(tasks, 600)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.file.getvalue()).strip().splitlines()
    last = lines[-1].split("\r")[-1]
    assert last.startswith("maml [5way]")
    assert "tested 600 of 600 tasks  0:00:00 left" in last


def test_progress_costs_next_to_nothing():
    loggers = Loggers([ConsoleProgress(console(terminal=True))])
    with loggers:
        loggers.start(run_info())
        began = time.perf_counter()
        for iteration in range(10_000):
            loggers.progress(iteration)
        seconds = time.perf_counter() - began
    assert seconds / 10_000 < 50e-6


def test_every_logger_is_closed_though_one_fails_and_its_error_is_raised():
    closed = []

    class Fails(Logger):
        def start(self, run):
            pass

        def log(self, iteration, metrics):
            pass

        def close(self):
            closed.append(self)
            raise OSError("first" if len(closed) == 1 else "second")

    with pytest.raises(OSError, match="first"), Loggers([Fails(), Fails()]):
        pass
    assert len(closed) == 2
