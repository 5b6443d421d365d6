"""Sweeps on a real one-node SLURM: interrupted in every way, they give the same results."""

import re
import subprocess
import threading
import time
from pathlib import Path

import pytest
import runs

from mamlbench.compose import experiment
from mamlbench.report.status import collect, show

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slurm", "no_figures")]

RUN = [
    *runs.TINY["sinusoid"],
    "algorithm._target_=paced_lab.PacedMAML",
    "logger=csv",
    "hardware.threads=1",
    "training.iterations=400",
    "training.log_every=10",
    "training.validate_every=100",
    "training.checkpoint_every=50",
]
# once the limit is lowered to 10 minutes, the signal, 10 minutes before the end, is due at once
SLURM = [
    "hardware=slurm_cpu",
    *("hardware.time=20", "hardware.signal_before=600"),
    *("hardware.cpus=1", "hardware.memory=0.25"),
]
SWEEP = ["-m", "seed=0,1,2,3", *RUN, *SLURM]
BAD = ["-m", "seed=9", "algorithm.inner_lr=-1,0.02", *RUN, "training.iterations=2", *SLURM]


@pytest.fixture
def slurm(slurm_conf, monkeypatch):
    """Let SLURM's commands use the local SLURM, and its jobs import from this folder."""
    monkeypatch.setenv("SLURM_CONF", slurm_conf)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setattr("mamlbench.slurm.waiting._LONGEST_PAUSE", 1.0)


def command(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def job_of(submitted, count: int) -> str:
    assert submitted.code == 0
    job = submitted.out.removeprefix("submitted job ").partition(":")[0]
    assert submitted.out.startswith(f"submitted job {job}: {count} runs, logs in ")
    return job


def state(job: str) -> str:
    return command("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()


def wait_until(condition, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def folder(*more: str) -> Path:
    return experiment([*RUN, *more]).folder.path


def has_rows(path: Path) -> bool:
    metrics = path / "metrics.csv"
    return metrics.is_file() and metrics.read_text().count("\n") > 1


def states() -> list[str]:
    return sorted(row.state for row in collect(Path("outputs")))


def drain(yes: bool) -> None:
    node = command("sinfo", "--noheader", "--format=%n").strip()
    told = ["State=DRAIN", "Reason=test"] if yes else ["State=RESUME"]
    command("scontrol", "update", f"NodeName={node}", *told)


def interrupt(job: str, folders: list[Path]) -> None:
    """Once all runs of an array are training, stop each in a different way."""
    wait_until(lambda: all(map(has_rows, folders)))
    command("scontrol", "update", f"JobId={job}_3", "TimeLimit=10")
    command("scancel", "--signal=USR1", f"{job}_0")
    command("scancel", "--signal=TERM", f"{job}_1")
    drain(True)
    command("scontrol", "requeue", f"{job}_2")
    wait_until(lambda: all(state(f"{job}_{n}") == "PENDING" for n in range(4)))


def test_a_sweep_that_is_interrupted_in_every_way_goes_on_by_itself(mamlbench):
    folders = [folder(f"seed={seed}") for seed in range(4)]
    job = job_of(mamlbench(*SWEEP, "hardware.detach=true"), 4)
    assert not any((path / "summary.json").exists() for path in folders)

    interrupt(job, folders)
    bad = job_of(mamlbench(*BAD, "hardware.detach=true"), 2)
    assert states() == ["preempted"] * 4 + ["queued"] * 2  # the drained node accepts no jobs
    row = f"| preempted | {folders[1].relative_to('outputs')} | {job}_1 | "
    assert row in re.sub(" +", " ", show(Path("outputs")))
    time.sleep(3)  # a node refuses a job granted in the second in which its previous turn ended
    for number in range(4):  # SLURM delays requeued jobs by two minutes
        command("scontrol", "update", f"JobId={job}_{number}", "StartTime=now", "TimeLimit=20")

    back = threading.Timer(5.0, drain, [False])  # after the command has seen the queued jobs
    back.start()
    failed = mamlbench(*BAD)
    back.join()
    assert failed.out.startswith(f"already queued or running in job {bad}: ")
    assert failed.code == 2
    reason = "algorithm.inner_lr=-1.0: accepted is 0 or more"
    assert f"1 of 2: algorithm.inner_lr=-1: failed: job {bad}_0 FAILED: {reason}; " in failed.err
    assert "2 of 2: algorithm.inner_lr=0.02: finished" in failed.err
    [note] = [row.note for row in collect(Path("outputs")) if row.state == "failed"]
    assert note == reason

    assert mamlbench(*SWEEP).code == 0
    assert states() == ["failed"] + ["finished"] * 5
    logs = {n: next(Path("outputs/.sweep").glob(f"*/{job}_{n}_0_log.out")) for n in range(4)}
    for number, told in ((0, "SIGUSR1"), (1, "SIGTERM"), (3, "SIGUSR1")):
        line = f"mamlbench: {told}: job {job}_{number} goes back to the queue"
        assert logs[number].read_text().count(line) == 1
    for seed, path in enumerate(folders):
        undisturbed = experiment([*RUN, f"seed={seed}", "outputs=undisturbed"])
        undisturbed.run()
        expected, found = runs.result(undisturbed.folder.path), runs.result(path)
        expected["summary"]["command"] = found["summary"]["command"]
        assert found == expected

    (folders[2] / "summary.json").unlink()
    again = mamlbench(*SWEEP)
    assert again.code == 0
    assert again.out.count("inner steps |") == 3  # finished runs are shown
    assert ": 1 run, " in again.out
    assert (folders[2] / "summary.json").is_file()
