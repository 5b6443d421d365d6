"""SLURM options: forms of the time limit, and sbatch's names."""

import pytest

from mamlbench.config.build import construct
from mamlbench.errors import BadValue, UserError
from mamlbench.slurm.options import Submission, of_the_run


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        (90, 90),
        ("90", 90),
        ("90:30", 91),  # minutes:seconds
        ("1:30:00", 90),
        ("2-0", 2880),  # days-hours
        ("1-06:30", 1830),
        ("1-06:30:01", 1831),
    ],
)
def test_time_in_the_forms_of_slurm(time, minutes):
    assert Submission(time=time).minutes == minutes


@pytest.mark.parametrize("time", [0, "tomorrow", "1:2:3:4", "0:30:"])
def test_no_time(time):
    with pytest.raises(BadValue, match=r"^time="):
        Submission(time=time)


def test_a_signal_that_would_come_before_the_start():
    expected = r"^signal_before=60: accepted is 0 to 59, within the time limit$"
    with pytest.raises(BadValue, match=expected):
        Submission(time=1, signal_before=60)


def test_a_wrong_type_is_named_by_its_key():
    with pytest.raises(UserError, match=r"^hardware\.setup=.*: accepted is a list of text$"):
        construct(Submission, {"setup": "module load cuda"}, "hardware")


def test_sbatch_is_told_all_of_it():
    asked = Submission(
        partition="long",
        account="lab",
        qos="high",
        constraint="a100|h100",
        time="2-0",
        memory=1.5,
        cpus=4,
        gpus="a100:2",
        setup=("module load cuda",),
        sbatch={"exclude": "node7"},
        max_requeues=3,
    )
    submitit = pytest.importorskip("submitit.slurm.slurm")
    script = submitit._make_sbatch_string(command="run", folder="logs", **asked.parameters())
    lines = script.splitlines()
    for line in (
        "--partition=long",
        "--account=lab",
        "--qos=high",
        "--constraint='a100|h100'",
        "--time=2880",
        "--mem=1536M",
        "--cpus-per-task=4",
        "--gpus-per-node=a100:2",
        "--exclude=node7",
        "--signal=USR1@120",
        "--requeue",
        "--open-mode=append",
    ):
        assert f"#SBATCH {line}" in lines
    setup = ["export MAMLBENCH_MAX_REQUEUES=3", "module load cuda"]
    assert [line for line in lines if line in setup] == setup
    assert not any("None" in line for line in lines)


def test_only_hardware_that_is_submitted_has_such_options():
    assert of_the_run({"device": "cpu", "detach": False, "time": 5}) == {"device": "cpu"}
    assert of_the_run({"device": "cpu", "time": 5}) == {"device": "cpu", "time": 5}
