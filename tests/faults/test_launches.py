"""Concurrent launches: two of one run, the next after a crash, 64 at a time."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import runs

from mamlbench.cli.main import main
from mamlbench.compose import experiment
from mamlbench.errors import BUSY, Busy
from mamlbench.locks import only_one
from mamlbench.run.folder import RunFolder
from mamlbench.training import Trainer

SETTINGS = ["training.iterations=4", "training.checkpoint_every=2"]


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.mark.slow
def test_two_launches_of_one_run(tmp_path):
    long = ["training.iterations=100000", "training.checkpoint_every=50"]
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *long)
    folder = experiment(arguments).folder.path
    first = runs.Command(arguments)
    first.wait_for(folder / "metrics.csv")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.suffix == ".yaml"}

    with pytest.raises(Busy) as busy:
        experiment(arguments).run()
    pattern = rf"{re.escape(str(folder))}: process {first.process.pid} on \S+ is working on it; .*"
    assert re.fullmatch(pattern, str(busy.value))
    assert runs.Command(arguments).wait() == BUSY == 75
    assert {path: path.stat().st_mtime_ns for path in before} == before

    first.send(signal.SIGKILL)
    first.wait()
    assert (folder / ".lock").is_file()  # left by the crash
    for checkpoint in folder.glob("checkpoint*.pt"):
        checkpoint.unlink()  # the next one is the next launch's
    again = runs.Command(arguments)
    patience = threading.Timer(60, again.send, [signal.SIGKILL])
    patience.start()
    again.wait_for(folder / "checkpoint.pt")
    patience.cancel()
    again.send(signal.SIGTERM)
    assert again.wait() == 128 + signal.SIGTERM  # it trained until the signal
    assert not (folder / ".lock").exists()


def test_a_sweep_says_what_others_are_at_and_goes_on(tmp_path, monkeypatch, capsys):
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS)
    busy = experiment([*arguments, "seed=1"]).folder.path
    busy.mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["mamlbench", "-m", *arguments, "seed=0,1,2"])
    with only_one(busy / ".lock", "it"), pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == BUSY
    assert {path.parent.name for path in tmp_path.rglob("summary.json")} == {"seed0", "seed2"}
    said = [line for line in capsys.readouterr().err.splitlines() if "working on" in line]
    assert said[0].startswith(f"mamlbench: {busy}: process {os.getpid()} on ")
    assert said[1] == "mamlbench: other processes are working on 1 of these runs"
    assert len(said) == 2


def test_a_mistake_counts_more_than_a_run_that_others_are_at(tmp_path, monkeypatch, capsys):
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS)
    busy = experiment(arguments).folder.path
    busy.mkdir(parents=True)
    sweep = ["-m", *arguments, "algorithm.inner_lr=0.01,-1"]
    monkeypatch.setattr(sys, "argv", ["mamlbench", *sweep])
    with only_one(busy / ".lock", "it"), pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2


def test_a_finished_run_is_shown_whoever_has_its_folder(tmp_path):
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS)
    run = experiment(arguments)
    summary = run.run()
    assert not (run.folder.path / ".lock").exists()
    with only_one(run.folder.path / ".lock", "it"):
        assert experiment(arguments).run() == summary


def test_finished_by_another_process_at_the_last_moment(tmp_path, monkeypatch):
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS)
    run, owned, others = experiment(arguments), RunFolder.owned, []

    @contextlib.contextmanager
    def after_the_other(folder):
        if not others:
            others.append(experiment(arguments))
            others[0].run()
        with owned(folder):
            yield

    monkeypatch.setattr(RunFolder, "owned", after_the_other)
    run.dataset.load = None  # nothing is left to do
    assert run.run()["train"]["iterations"] == 4


def test_a_lock_whose_holder_is_gone(tmp_path):
    lock = tmp_path / ".lock"
    lock.write_text('{"process": 1, "host": "elsewhere"}')  # left by a crash on a shared disk
    with only_one(lock, "it"):
        pass
    child = os.fork()
    if child == 0:
        with only_one(lock, "it"):
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert lock.is_file()
    with only_one(lock, "it"):
        pass
    assert not lock.exists()


def test_a_requeued_job_waits_for_what_is_left_of_its_own_last_life(tmp_path, monkeypatch):
    lock = tmp_path / ".lock"
    (ready, told), (waited_for, waits) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(waits)
        with only_one(lock, "it"):
            os.write(told, b"x")
            os.read(waited_for, 1)
        os._exit(0)
    os.read(ready, 1)
    sleep, asleep = time.sleep, []

    def say_so_and_sleep(seconds):
        if not asleep:
            os.write(waits, b"x")
        asleep.append(seconds)
        sleep(seconds)

    try:
        with pytest.raises(Busy), only_one(lock, "it"):
            pass
        monkeypatch.setattr(time, "sleep", say_so_and_sleep)  # called between two tries
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        with only_one(lock, "it"):
            assert asleep
    finally:
        os.close(waits)  # the child continues, whatever failed here
        os.waitpid(child, 0)


@pytest.mark.slow
def test_64_processes_that_start_one_run_together(tmp_path):
    """One process trains; the others say so or show its result. Forked after importing torch."""
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS)
    prepared = experiment(arguments)
    trained = tmp_path / "trained"
    gate, opener = os.pipe()
    children = []
    for _ in range(64):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(opener)
                run = Trainer.run

                def counted(trainer, logger, run=run):
                    with trained.open("a") as file:
                        file.write("x")
                    time.sleep(0.5)
                    run(trainer, logger)

                Trainer.run = counted
                os.read(gate, 1)  # waits until the last has been started
                with contextlib.redirect_stderr(io.StringIO()):
                    prepared.run()
                code = 0
            except Busy:
                code = BUSY
            finally:
                os._exit(code)
        children.append(child)
    os.close(opener)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert trained.read_text() == "x"
    assert set(codes) <= {0, BUSY}
    assert codes.count(0) >= 1
    [summary] = tmp_path.rglob("summary.json")
    left = runs.files_below(summary.parent)
    kept = ["best.pt", "checkpoint.pt", "checkpoint_before.pt"]
    assert left == [*kept, "config.yaml", "metrics.csv", "summary.json", "test_tasks.csv"]


@pytest.mark.slow
def test_64_runs_that_start_together(tmp_path):
    """64 cells of a sweep create the same folders at the same moment."""
    gate, opener = os.pipe()
    children = []
    for seed in range(64):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(opener)
                more = [f"seed={seed}", "training.iterations=0", "evaluation.tasks=1"]
                run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *more))
                os.read(gate, 1)
                with contextlib.redirect_stderr(io.StringIO()):
                    run.run()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    os.close(opener)
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
    assert len(list(Path(tmp_path).rglob("summary.json"))) == 64
