"""When a job is requeued and when it is not; SLURM's commands are stand-ins."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SQUEUE = "#!/bin/sh\necho '7_3|{state}|None|1:00'\n"
SCONTROL = '#!/bin/sh\necho "$@" >> "$(dirname "$0")/told"\n'
JOB = """
import signal, sys, time
from mamlbench.slurm.preemption import requeue_when_told
requeue_when_told()
signal.raise_signal(signal.{name})
time.sleep(60)
"""


@pytest.fixture
def job(tmp_path):
    """`job(state, signal)` returns the exit code, stderr and the arguments of scontrol."""

    def run(state: str, number: signal.Signals, **variables: str) -> tuple[int, str, str]:
        for name, text in (("squeue", SQUEUE.format(state=state)), ("scontrol", SCONTROL)):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        about = {"SLURM_JOB_ID": "10", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-c", JOB.format(name=number.name)],
            env={**os.environ, **about, "PATH": path, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
        told = tmp_path / "told"
        return done.returncode, done.stderr, told.read_text() if told.exists() else ""

    return run


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_job_that_runs_goes_back(job, number):
    code, printed, told = job("RUNNING", number)
    assert code == 128 + number
    assert printed == f"mamlbench: {number.name}: job 7_3 goes back to the queue\n"
    assert told == "requeue 7_3\n"  # 10 alone could mean the whole array


@pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED"])
def test_a_job_that_was_cancelled_stays_so(job, state):
    code, printed, told = job(state, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert printed.endswith(f"job 7_3 does not go back to the queue: its state is {state}\n")
    assert told == ""


def test_a_job_goes_back_so_many_times_only(job):
    limits = {"SLURM_RESTART_COUNT": "2", "MAMLBENCH_MAX_REQUEUES": "2"}
    _, printed, told = job("RUNNING", signal.SIGUSR1, **limits)
    assert "job 7_3 ends: hardware.max_requeues=2 is reached" in printed
    assert told == ""


def test_of_several_tasks_one_tells_slurm(job):
    _, printed, told = job("RUNNING", signal.SIGUSR1, SLURM_PROCID="1")
    assert (printed, told) == ("", "")


def test_without_slurm_there_is_no_answer(tmp_path, monkeypatch):
    from mamlbench.slurm import queue

    monkeypatch.setenv("PATH", str(tmp_path))
    assert queue.jobs() is None
    assert queue.requeue("7_3") == "SLURM does not know it"
    assert queue.most_array_tasks() is None


def test_submitits_module_is_started_in_a_job(tmp_path):
    (tmp_path / "told.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    done = subprocess.run(
        [sys.executable, "-m", "mamlbench.slurm", "-u", "-m", "told", "folder"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "__main__ ['folder']\n"
