"""`also_test=`: additional tests, the user's config folders, and mistakes found before training."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from runs import RUN, files_below

from mamlbench.errors import UserError
from mamlbench.experiment import Experiment

pytestmark = pytest.mark.usefixtures("no_figures")

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def own(tmp_path):
    """A user's config folder with algorithm=mine."""
    (tmp_path / "conf/algorithm").mkdir(parents=True)
    shutil.copy(CONF / "algorithm/maml.yaml", tmp_path / "conf/algorithm/mine.yaml")
    return tmp_path / "conf"


def tasks() -> list[int]:
    """The number of test tasks of each finished run."""
    paths = Path("outputs").rglob("summary.json")
    return sorted(json.loads(path.read_text())["test"]["mse"]["n_tasks"] for path in paths)


@pytest.mark.parametrize(
    "flag", ["--config-dir={}", "hydra.searchpath=[file://{}]"], ids=["flag", "searchpath"]
)
@pytest.mark.parametrize("sweep", [[], ["-m", "seed=0,1"]], ids=["run", "sweep"])
def test_a_config_folder_of_ones_own(mamlbench, own, flag, sweep):
    also = 'also_test=[["evaluation.tasks=2"],["evaluation.tasks=3"]]'
    result = mamlbench(flag.format(own), *sweep, "algorithm=mine", *RUN, also)
    assert result.code == 0
    assert tasks() == sorted([2, 3, 8] * (2 if sweep else 1))


@pytest.mark.slow
def test_a_config_folder_of_ones_own_where_processes_are_started(mamlbench, own):
    line = ["algorithm=mine", *RUN, "hardware.processes=2", 'also_test=[["evaluation.tasks=2"]]']
    assert mamlbench("--config-dir", str(own), *line).code == 0
    assert tasks() == [2, 8]


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        (
            "evaluation.transductiv=true",
            r"evaluation\.transductiv=true: evaluation has no option transductiv; accepted: .*",
        ),
        ("evaluation.tasks=-1", r"evaluation\.tasks=-1: accepted is 1 or more"),
        ("evaluation=std", r"evaluation=std: accepted is .*\(did you mean 'standard'\?\)"),
        ("algorithm=mne", r"algorithm=mne: accepted is .*, mine, .*\(did you mean 'mine'\?\)"),
        ("algorithm=null", r"algorithm=null: accepted is .*"),
        ("evaluation.tasks", r"evaluation\.tasks: accepted is key=value"),
        ("network.hidden=[9]", r"checkpoint=.*: has another architecture: .* \[8, 1\], .*"),
        ("warm_start=x", r"warm_start=x: accepted are options for testing what this run has .*"),
        ("checkpoint=x", r"checkpoint=x: accepted are options for testing what this run has .*"),
    ],
)
def test_a_mistake_is_said_before_anything_is_read(
    mamlbench, full_match, own, monkeypatch, test, complaint
):
    monkeypatch.setattr(Experiment, "run", lambda self: pytest.fail("it ran"))
    line = ["--config-dir", str(own), "algorithm=mine", *RUN]
    result = mamlbench(*line, f'also_test=[["evaluation.tasks=2"],["{test}"]]')
    assert result.code == 2
    assert result.out == ""
    assert result.err.count("\n") == 1
    full_match("also_test: " + complaint, result.complaint)
    assert files_below(Path()) == []


def test_the_run_itself_is_as_without(mamlbench, monkeypatch):
    seen = []

    def stop(run):
        seen.append((torch.get_rng_state().tolist(), torch.get_num_threads()))
        raise UserError("enough")

    monkeypatch.setattr(Experiment, "run", stop)
    other = '["hardware.threads=2","evaluation.tasks=2","seed=3"]'
    for more in ([], [f"also_test=[{other}]"]):
        assert mamlbench(*RUN, *more).complaint == "enough"
    assert seen[0] == seen[1]


def test_of_a_checkpoint_that_is_tested_itself(mamlbench, run):
    also = 'also_test=[["evaluation.tasks=2"]]'
    assert mamlbench(f"checkpoint={run}", "evaluation.tasks=3", also).code == 0
    assert tasks() == [2, 3, 8]
