"""What is submitted when a sweep is started again; SLURM's commands are stand-ins."""

import os
import re
from pathlib import Path

import pytest
from runs import RUN

from mamlbench.run.folder import RunFolder
from mamlbench.slurm.submitted import SubmittedCell
from mamlbench.slurm.waiting import wait_for
from mamlbench.sweeps.cells import Cell

DelayedSubmission = pytest.importorskip("submitit.core.utils").DelayedSubmission

SBATCH = '#!/bin/sh\necho "$@" >> "{folder}/submitted"\necho "Submitted batch job 7"\n'
SQUEUE = "#!/bin/sh\ncat {folder}/jobs\n"
ALSO = 'also_test=[["evaluation.tasks=2"],["evaluation.shots=7"]]'
SWEEP = ["-m", "seed=0", *RUN, "hardware=slurm_cpu", "hardware.time=20"]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """`slurm(state)` sets the state of job 7 in squeue."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("srun", "#!/bin/sh\n")):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    (folder / "scontrol").symlink_to(folder / "srun")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("mamlbench.slurm.waiting._FIRST_PAUSE", 0.0)
    monkeypatch.setattr("mamlbench.slurm.waiting._FILES_LATE", 0.0)

    def state(of_job: str) -> None:
        (folder / "jobs").write_text(f"7|{of_job}|None|1:00\n")

    state("PENDING")
    return state


def submitted(tmp_path: Path) -> int:
    return (tmp_path / "bin/submitted").read_text().count("\n")


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_run_with_other_tests_is_submitted_once(mamlbench, slurm, tmp_path, state):
    detached = [*SWEEP, ALSO, "hardware.detach=true"]
    assert mamlbench(*detached).out.startswith("submitted job 7: 1 run, ")
    slurm(state)
    assert mamlbench(*detached).out == "already queued or running in job 7: 1 run\n"
    assert submitted(tmp_path) == 1
    slurm("FAILED")
    assert mamlbench(*detached).out.startswith("submitted job 7: 1 run, ")


def test_nothing_is_submitted_while_nobody_knows_what_is_queued(mamlbench, slurm, tmp_path):
    detached = [*SWEEP, "hardware.detach=true"]
    assert mamlbench(*detached).code == 0
    (tmp_path / "bin/jobs").unlink()  # squeue fails
    result = mamlbench(*detached)
    assert result.code == 2
    assert result.complaint.startswith("hardware: squeue does not answer: some of these runs ")
    assert submitted(tmp_path) == 1


def test_a_job_that_was_not_asked_for_the_other_tests(slurm, tmp_path):
    run, test = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "test")
    run.path.mkdir()
    run.summary.write_text('{"test": {"mse": {"mean": 0.5}}}')
    other = Cell((), "", test, "mse", False, {})
    cell = Cell((), "", run, "mse", False, {}, other_tests=lambda: [other])
    job = SubmittedCell("7", (), run.path, tmp_path / "log")
    slurm("COMPLETED")
    [outcome] = wait_for([job], [cell])
    assert str(outcome) == "job 7 did not run the tests of also_test; the same command does"
    test.path.mkdir()
    test.summary.write_text("{}")
    assert wait_for([job], [cell]) == [0.5]


def test_a_job_has_the_config_folder_that_was_given(mamlbench, slurm, tmp_path):
    own = tmp_path / "mine"
    (own / "evaluation").mkdir(parents=True)
    assert mamlbench("--config-dir", str(own), *SWEEP, "hardware.detach=true").code == 0
    [pickled] = Path("outputs/.sweep").rglob("*.pkl")
    job = DelayedSubmission.load(pickled).function
    assert job.arguments[0] == f"--config-dir={own}"


@pytest.fixture
def search(mamlbench, slurm, monkeypatch):
    """A search killed after submitting its only trial: the command line and the study."""
    optuna = pytest.importorskip("optuna", reason="the extra tune is not installed")
    search = ["-m", "tune=maml", *RUN, "training.validate_every=1", "hardware=slurm_cpu"]
    search += ["hydra.sweeper.n_trials=1"]

    def killed(jobs, cells):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mamlbench.slurm.launcher.wait_for", killed)
        assert mamlbench(*search).code == 130
    [file] = Path("outputs").rglob("*.db")
    storage = f"sqlite:///{file}"
    [name] = optuna.get_all_study_names(storage)
    return search, optuna.load_study(study_name=name, storage=storage)


@pytest.mark.usefixtures("no_figures")
def test_the_job_of_a_trial_tells_its_search(mamlbench, search, monkeypatch):
    [pickled] = Path("outputs/.sweep").rglob("*.pkl")
    job = DelayedSubmission.load(pickled).function
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert mamlbench(*job.arguments).code == 0
    [trial] = search[1].trials
    assert trial.state.name == "COMPLETE"
    assert set(trial.intermediate_values) == {1, 2}


def test_a_search_that_was_killed_waits_for_the_trial_that_goes_on(
    mamlbench, search, tmp_path, monkeypatch
):
    def told_meanwhile(jobs, cells):
        assert [job.job for job in jobs] == ["7"]
        search[1].tell(0, 0.25)  # as the trial's job does
        return [None]

    monkeypatch.setattr("mamlbench.slurm.launcher.wait_for", told_meanwhile)
    result = mamlbench(*search[0])
    assert result.code == 0, result.err
    assert "already queued or running in job 7: 1 run\n" in result.out
    assert "1 trial: 1 finished, 0 pruned, 0 failed" in result.out
    assert re.search(r"\nmamlbench -m .*algorithm\.inner_lr=", result.out)  # SLURM needs -m
    assert submitted(tmp_path) == 1
