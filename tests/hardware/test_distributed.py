"""Runs that several processes share: started, stopped, killed, resumed."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import runs
import torch
from torch.distributed.launcher.api import LaunchConfig

from mamlbench import checkpoint
from mamlbench.compose import experiment
from mamlbench.errors import BadValue, Lost, UserError
from mamlbench.evaluation import evaluate
from mamlbench.hardware.distributed import Ranks, joined
from mamlbench.hardware.processes import Place, here, launch, share_of

SETTINGS = [
    "hardware.precision=float64",
    "training.iterations=600",
    "training.log_every=100",
    "training.validate_every=200",
    "training.checkpoint_every=20",
]
CLOSE = {"rtol": 1e-8, "atol": 1e-10}


def arguments(outputs: Path, *more: str) -> list[str]:
    return runs.overrides(outputs, "maml", "sinusoid", *SETTINGS, *more)


def command(*words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def children(pid: int) -> list[int]:
    """The child processes of a process, in the order of their numbers."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return sorted(found)


def ranks_of(launcher: subprocess.Popen) -> list[int]:
    """The processes of a command, which its fork server started."""
    forked = [children(child) for child in children(launcher.pid)]
    return max(forked, key=len)


def newer_checkpoint(folder: Path, than: int, running: subprocess.Popen) -> None:
    while running.poll() is None and runs.saved_at(folder) in (0, than):
        time.sleep(0.005)
    assert running.poll() is None, running.communicate()


def outcome(folder: Path) -> dict[str, np.ndarray]:
    """The numbers that a finished run left, except its speed."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {
        name: np.array([float(row[name] or "nan") for row in rows])
        for name in rows[0]
        if name != "tasks_per_second"
    }
    tests = np.genfromtxt(folder / "test_tasks.csv", delimiter=",", skip_header=1)
    state = checkpoint.load(folder / "checkpoint.pt")["learner"]
    return found | {"tests": tests} | {name: value.numpy() for name, value in state.items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    run = experiment(arguments(tmp_path_factory.mktemp("alone")))
    run.run()
    return outcome(run.folder.path)


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run of two processes, including what they printed."""
    given = arguments(tmp_path_factory.mktemp("torchrun"))
    torchrun = "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"
    running = command(*torchrun, "mamlbench", *given)
    out, err = running.communicate()
    assert running.returncode == 0, err
    folder = experiment(given).folder.path
    (folder / "printed.txt").write_text(out + err)
    return folder


def test_torchrun_gives_what_one_process_gives(by_torchrun: Path, alone: dict) -> None:
    found = outcome(by_torchrun)
    assert found.keys() == alone.keys()
    for name, values in alone.items():
        np.testing.assert_allclose(found[name], values, **CLOSE, err_msg=name)
    printed = (by_torchrun / "printed.txt").read_text()
    for words in ("mamlbench trains maml", "600/600", "MSE by number of inner steps"):
        assert printed.count(words) == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="to find processes takes /proc")
def test_killed_stopped_and_gone_on_with(tmp_path: Path, by_torchrun: Path, alone: dict) -> None:
    """One process is killed, one gets a signal, the command gets a signal; then the run is finished
    by as many processes as before (byte for byte as if undisturbed) and by one."""
    several = arguments(tmp_path / "a", "hardware.processes=2")
    folder, seen = experiment(arguments(tmp_path / "a")).folder.path, 0
    for number, code in ((signal.SIGKILL, 1), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)):
        running = command("mamlbench", *several)
        newer_checkpoint(folder, seen, running)
        whom = running.pid if number == signal.SIGUSR1 else ranks_of(running)[-1]
        os.kill(whom, number)
        _, said = running.communicate()
        assert running.returncode == code, said
        how = [line for line in said.splitlines() if "same command goes on" in line]
        words = "process 1 of 2 was ended by" if code == 1 else "stopped by"
        assert [f"mamlbench: {words} {number.name}" in line for line in how] == [True]
        if code != 1:
            iteration = checkpoint.load(folder / "checkpoint.pt")["iteration"]
            assert f"at iteration {iteration}, saved" in how[0]
        assert not (folder / "summary.json").exists()
        seen = runs.saved_at(folder)

    shutil.copytree(tmp_path / "a", tmp_path / "b")
    running = command("mamlbench", *several)
    _, said = running.communicate()
    assert running.returncode == 0, said
    expected, found = outcome(by_torchrun), outcome(folder)
    assert all(np.array_equal(found[n], expected[n], equal_nan=True) for n in expected)

    last = experiment(arguments(tmp_path / "b"))
    last.run()
    found = outcome(last.folder.path)
    for name, values in alone.items():
        np.testing.assert_allclose(found[name], values, **CLOSE, err_msg=name)


# --- communication --------------------------------------------------------------------------------


def told(given: list[str]) -> list[object]:
    """Results of all methods that communicate, as the first process has them."""
    ranks = joined()
    assert here() == Place(ranks.rank, 3, ranks.rank, 3)

    def refuse() -> None:
        raise UserError(f"of {ranks.rank}")

    def refuse_unless_first() -> int:
        return 5 if ranks.is_first else refuse()

    found: list[object] = [
        ranks.gathered([ranks.rank] * ranks.rank),
        ranks.most(10 - ranks.rank),
        ranks.from_first(lambda: ranks.rank + 7),
        ranks.together(lambda: ranks.rank),
    ]
    for function in (ranks.from_first, ranks.together):
        with pytest.raises(UserError) as error:
            function(refuse)
        found.append(str(error.value))
    with pytest.raises(UserError) as error:
        ranks.together(refuse_unless_first)
    found.append(str(error.value))

    run = experiment(given)
    run.dataset.load(torch.device("cpu"))
    parts = run.learner, run.dataset, "test", run.protocol, run.hardware
    shared, own = evaluate(*parts, ranks=ranks), evaluate(*parts)
    for name, values in own.by_task.items():
        np.testing.assert_allclose(shared.by_task[name], values, **CLOSE)
    found.append(own.by_task["mse"].shape)
    return found


def test_what_processes_tell_one_another(tmp_path: Path) -> None:
    given = arguments(tmp_path)  # 8 tasks for 3 processes
    expected = [[1, 2, 2], 10, 7, 0, "of 0", "of 0", "of 1", (3, 8)]
    assert launch(3, told, given) == expected


def ended(code: int) -> None:
    if joined().rank == 1:
        os._exit(code)
    with suppress(Lost):  # raised when rank 1 is gone; the agent must see rank 1's failure first
        joined().most(0)
    signal.pause()


def test_who_failed_is_said() -> None:
    with pytest.raises(Lost, match="process 1 of 2 failed, see its error above") as lost:
        launch(2, ended, 7)
    assert lost.value.exit_code == 7
    with pytest.raises(SystemExit) as stopped:
        launch(2, ended, 128 + signal.SIGUSR1)
    assert stopped.value.code == 128 + signal.SIGUSR1


def test_a_run_that_is_stopped_has_time_to_save_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchrun's agent would give it 30 s, but an outer step can take that long."""
    configs = []

    def instead(config: LaunchConfig, _: object) -> Callable[..., dict[int, None]]:
        configs.append(config)
        return lambda *_: {0: None}

    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "")
    monkeypatch.delenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT")
    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", instead)
    launch(2, ended, 0)
    assert configs[0].shutdown_timeout == 3600


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [1, 2, 5, 8])
def test_shares_are_all_tasks_in_order(size: int, total: int) -> None:
    shares = [Ranks(rank, size).share(total) for rank in range(size)]
    tasks = [task for share in shares for task in range(share.first, share.end)]
    assert tasks == list(range(total))
    counts = [share.count for share in shares]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] - counts[-1] <= 1
    assert sum(share.weight for share in shares) == pytest.approx(1.0)


def test_the_place_is_what_torchrun_or_srun_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert here() == Place()
    assert share_of(8) == 8
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")  # a job's only task may see more cores
    assert (share_of(8), share_of(2)) == (3, 2)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK")
    monkeypatch.setenv("SLURM_NTASKS", "4")  # as in a batch script, which is not one of the tasks
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert here() == Place()
    step = {
        "SLURM_STEP_NUM_TASKS": "5",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "60004",
        "SLURM_STEP_ID": "2",
        "MASTER_ADDR": "node1",
    }
    for name, value in step.items():
        monkeypatch.setenv(name, value)
    assert here() == Place(3, 5, 1, 2, "node1:12004")
    assert share_of(8) == 8  # SLURM has given each task its own cores
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")  # if tasks are not bound to their cores
    assert (share_of(8), share_of(2)) == (3, 2)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK")
    monkeypatch.setenv("MASTER_PORT", "4000")
    assert here().address == "node1:4000"
    for name, value in {"RANK": "6", "WORLD_SIZE": "8", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert here() == Place(6, 8, 2, 4)
    assert [share_of(cores) for cores in (8, 6, 2)] == [2, 1, 1]


def test_processes_with_other_data_do_no_run_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = experiment(arguments(tmp_path))
    monkeypatch.setattr(Ranks, "gathered", lambda self, parts: ["a" * 64, "b" * 64, "a" * 64])
    expected = r"different data \(sha256 a{12}, b{12}\); accepted is the same for all of them"
    with pytest.raises(UserError, match=expected):
        run.run()
    assert runs.files_below(tmp_path) == []


def test_serial_moments_cannot_be_shared(tmp_path: Path) -> None:
    options = ["algorithm.moments=serial", "algorithm.inner_optimizer=adam"]
    run = experiment(runs.overrides(tmp_path, "reptile", "sinusoid", *options))
    with pytest.raises(BadValue, match="moments=serial: accepted is shared or fresh if "):
        run.learner.share_with(Ranks(0, 2))


def test_the_number_of_processes_is_not_in_the_hash(tmp_path: Path) -> None:
    alone, several = (arguments(tmp_path, f"hardware.processes={n}") for n in (1, 3))
    assert experiment(alone).name.hash == experiment(several).name.hash
