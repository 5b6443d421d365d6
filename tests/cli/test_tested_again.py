"""`checkpoint=`: a trained model tested again with other settings, without training."""

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf
from runs import RUN, TINY

from mamlbench import checkpoint
from mamlbench.compose import config, experiment
from mamlbench.config.overrides import key_of
from mamlbench.errors import UserError
from mamlbench.report.runs import read_run
from mamlbench.run.made_by import with_overrides_of_checkpoint

RUN_KEPT = [override for override in RUN if not override.startswith(("logger", "hardware"))]
"""Overrides that a test takes over from the run `RUN`."""

pytestmark = pytest.mark.usefixtures("no_figures")


def finished(but: Path) -> tuple[Path, dict]:
    """The folder and summary of the only finished run except `but`."""
    [path] = [p for p in Path("outputs").rglob("summary.json") if p.parent != but]
    return path.parent, json.loads(path.read_text())


def test_another_protocol(mamlbench, run):
    before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    result = mamlbench("evaluation=standard", "evaluation.tasks=5", f"checkpoint={run}")
    assert result.code == 0
    assert "mamlbench tests maml sinusoid" in result.err
    folder, summary = finished(run)
    assert folder.parent.parent == run.parent.parent  # the same setting, another hash
    assert summary["evaluation"].startswith("standard: 5 tasks, 10 shots, 15 queries")
    assert summary["train"]["iterations"] == 0
    assert summary["checkpoint"] == str(run / "best.pt")
    trained = json.loads((run / "summary.json").read_text())
    assert "trained_in" not in trained
    names = {name: trained[name] for name in ("algorithm", "dataset", "setting")}
    length = trained["train"]["iterations"]
    assert summary["trained_in"] == {**names, "seed": 0, "iterations": length, "otherwise": {}}
    assert not (folder / "checkpoint.pt").exists()
    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert written["network"]["hidden"] == [8]  # as in the training run
    assert before == {path: path.stat().st_mtime_ns for path in run.iterdir()}


def test_of_an_equal_learner_trained_anew_the_test_is_there(mamlbench, run):
    """A checkpoint counts by what was learned, not by its training time."""
    again = "evaluation=standard", "evaluation.tasks=5", f"checkpoint={run}"
    assert mamlbench(*again).code == 0
    folder, _ = finished(run)
    written = (folder / "summary.json").stat().st_mtime_ns
    before = (run / "best.pt").read_bytes()
    assert mamlbench(*RUN, "restart=true").code == 0
    state = checkpoint.load(run / "best.pt")
    checkpoint.save(run / "best.pt", {**state, "seconds": 7.0})
    assert before != (run / "best.pt").read_bytes()
    assert mamlbench(*again).code == 0
    assert finished(run)[0] == folder
    assert (folder / "summary.json").stat().st_mtime_ns == written


def test_a_checkpoint_that_does_not_fit_leaves_no_folder(mamlbench, run):
    before = sorted(Path("outputs").rglob("*"))
    result = mamlbench(f"checkpoint={run}", "network.hidden=[9]")
    assert result.code == 2
    assert "has another architecture" in result.complaint
    assert sorted(Path("outputs").rglob("*")) == before


def test_a_checkpoint_of_another_algorithm_and_seed(mamlbench, run):
    """FOMAML's learners have the same parameters as MAML's."""
    typed = ["algorithm=fomaml", "algorithm.outer_lr=0.5", "seed=4"]
    assert mamlbench(f"checkpoint={run}", *typed).code == 0
    folder, summary = finished(run)
    told = summary["trained_in"]
    assert (told["algorithm"], told["seed"], summary["seed"]) == ("maml", 0, 4)
    assert told["otherwise"]["algorithm.outer_lr"] == 0.001
    read = read_run(folder)
    assert read.seed == 0
    assert read.trained_on.startswith("maml sinusoid 10shot algorithm.")


def test_the_same_protocol_gives_the_same_scores(mamlbench, run):
    """MAML's protocol tests the last checkpoint, although there is a best one."""
    assert mamlbench(f"checkpoint={run}").code == 0
    folder, summary = finished(run)
    assert summary["checkpoint"] == str(run / "checkpoint.pt")
    assert ", last checkpoint, " in summary["evaluation"]
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "test_tasks.csv"), pd.read_csv(run / "test_tasks.csv")
    )


def test_the_words_are_of_the_checkpoint_that_was_tested(mamlbench, run):
    (run / "best.pt").unlink()
    assert mamlbench("evaluation=standard", "evaluation.tasks=5", f"checkpoint={run}").code == 0
    _, summary = finished(run)
    assert summary["checkpoint"] == str(run / "checkpoint.pt")
    assert ", last checkpoint, " in summary["evaluation"]


def test_the_last_checkpoint_alone_is_never_called_the_best(mamlbench, run):
    more = "evaluation.tasks=5", f"checkpoint={run / 'checkpoint.pt'}"
    assert mamlbench("evaluation=standard", "evaluation.select=top5", *more).code == 0
    assert ", last checkpoint, " in finished(run)[1]["evaluation"]


def test_a_run_without_validation_has_no_best_checkpoint(mamlbench):
    assert mamlbench(*RUN, "evaluation.select=best", "training.validate_every=0").code == 0
    _, summary = finished(Path())
    assert summary["checkpoint"] is None
    assert ", last checkpoint, " in summary["evaluation"]


def test_other_shots_then_shown_again(mamlbench, run):
    line = [f"checkpoint={run}", "dataset.shots=3"]
    assert mamlbench(*line).code == 0
    folder, summary = finished(run)
    assert folder.parts[4] == "3shot"
    assert ", 3 shots, " in summary["evaluation"]
    stamp = (folder / "summary.json").stat().st_mtime_ns
    assert mamlbench(*line).code == 0
    assert (folder / "summary.json").stat().st_mtime_ns == stamp


def as_written(node):
    """A node with unresolved interpolations."""
    return OmegaConf.to_container(node, resolve=False)


def test_another_dataset_keeps_the_learner(run):
    """The preset for the other dataset has another inner rate, width and activation."""
    path = Path("mine.pt")
    state = checkpoint.load(run / "best.pt")
    made_by = ["algorithm=reptile", "dataset=omniglot", "dataset.ways=20", "network.norm=running"]
    checkpoint.save(path, {**state, "overrides": made_by, "run": None})
    line = with_overrides_of_checkpoint([f"checkpoint={path}", "dataset=glyphs"])
    then, now = config(made_by), config(line)
    for node in ("algorithm", "network"):
        assert as_written(now[node]) == as_written(then[node])
    assert now.dataset._target_ == "mamlbench.datasets.Glyphs"
    assert now.dataset.ways == 5
    assert now.hydra.runtime.choices.preset == "reptile_glyphs"


@pytest.mark.parametrize("flags", [["--config-dir={}"], ["--config-dir", "{}"], ["-cd", "{}"]])
def test_another_dataset_and_a_config_folder_of_ones_own(run, tmp_path, flags):
    (tmp_path / "conf/algorithm").mkdir(parents=True)
    (tmp_path / "conf/algorithm/mine.yaml").write_text("defaults: [maml]\ninner_lr: 0.07\n")
    state = checkpoint.load(run / "best.pt")
    checkpoint.save(Path("mine.pt"), {**state, "overrides": ["algorithm=mine"], "run": None})
    own = [flag.format(tmp_path / "conf") for flag in flags]
    line = with_overrides_of_checkpoint([*own, "-m", "checkpoint=mine.pt", "dataset=glyphs"])
    assert {"algorithm=mine", "algorithm.inner_lr=0.07"} <= set(line)


def test_what_is_typed_has_the_last_word(run):
    state = checkpoint.load(run / "best.pt")
    made_by = [
        "algorithm=reptile",
        "algorithm.inner_steps=4",
        "evaluation.tasks=7",
        "hardware=gpu",
        "restart=true",
        "outputs=/elsewhere",
        "name=mine",
        "training.iterations=9",
    ]
    checkpoint.save(Path("mine.pt"), {**state, "overrides": made_by, "run": None})
    typed = ["evaluation=maml", "checkpoint=mine.pt", "algorithm.inner_steps=2"]
    assert with_overrides_of_checkpoint(typed) == [
        "algorithm=reptile",
        "name=mine",
        "training.iterations=9",
        *typed,
    ]


@pytest.fixture
def own(mamlbench):
    """The folder of a run with a preset of one's own, which is in `conf`."""
    path = Path("conf/preset/anil_harmonic_sinusoid.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(
        "# @package _global_\nalgorithm: {inner_lr: 0.0123}\ndataset: {shots: 7}\n"
        "evaluation: {tasks: 6, inner_steps: 3}\ntraining: {iterations: 2}\n"
    )
    typed = ["algorithm=anil", "dataset=harmonic_sinusoid", "network.hidden=[8]", "logger=csv"]
    assert mamlbench("--config-dir=conf", *typed, "name=mine").code == 0
    return finished(Path())[0]


@pytest.mark.parametrize("flags", [[], ["--config-dir=conf"]])
def test_a_preset_that_is_missing_or_changed_changes_no_learner(mamlbench, own, flags):
    path = Path("conf/preset/anil_harmonic_sinusoid.yaml")
    path.write_text(path.read_text().replace("0.0123", "0.5").replace("7", "9"))
    result = mamlbench(*flags, f"checkpoint={own}", "evaluation.tasks=5")
    assert result.code == 0
    folder, summary = finished(own)
    assert folder.parent.parent == own.parent.parent  # also of the same `name`
    then, now = (yaml.safe_load((run / "config.yaml").read_text()) for run in (own, folder))
    for group in ("algorithm", "network", "dataset", "training"):
        assert now[group] == then[group]
    assert now["evaluation"] == {**then["evaluation"], "tasks": 5}
    assert summary["trained_in"]["otherwise"] == {}
    assert "mamlbench shows" in mamlbench(*shlex.split(summary["command"])[1:]).err


def test_options_that_are_typed_go_before_recorded_ones(own):
    typed = [f"checkpoint={own}", "algorithm.inner_lr=0.3", "evaluation=standard"]
    line = with_overrides_of_checkpoint(typed)
    assert {key_of(o) for o in line if "inner_lr" in o or "evaluation" in o} == {
        "algorithm.inner_lr",
        "evaluation",
    }
    assert line[-3:] == typed
    typed = [f"checkpoint={own}", "algorithm=maml", "network.hidden=[8]"]
    assert not any("inner_lr" in o for o in with_overrides_of_checkpoint(typed))


def test_a_class_of_ones_own_config_is_imported_only_if_it_is_typed(run):
    state = checkpoint.load(run / "best.pt")
    recorded = {"network._target_": "my_lab.Net", "network.width": 3, "network.hidden": [8]}
    about = {"options": state["run"]["options"] | recorded}
    checkpoint.save(Path("mine.pt"), {**state, "run": about})
    with pytest.raises(UserError, match=r"was made with network\._target_='my_lab\.Net', which "):
        with_overrides_of_checkpoint(["checkpoint=mine.pt"])
    typed = ["checkpoint=mine.pt", "network._target_=my_lab.Net"]
    assert with_overrides_of_checkpoint(typed) == [*RUN_KEPT, "++network.width=3", *typed]
    typed = ["checkpoint=mine.pt", "network=conv4"]
    line = with_overrides_of_checkpoint(typed)
    assert not any("my_lab" in o or "width" in o for o in line)


def test_an_option_that_the_class_no_longer_has_is_left_out(run):
    state = checkpoint.load(run / "best.pt")
    about = {"options": {**state["run"]["options"], "algorithm.of_old": 3}}
    checkpoint.save(Path("old.pt"), {**state, "run": about})
    assert not any("of_old" in o for o in with_overrides_of_checkpoint(["checkpoint=old.pt"]))


def test_python_tests_what_the_command_line_tests(mamlbench, run):
    state = checkpoint.load(run / "best.pt")
    made_by = ["algorithm=fomaml", "algorithm.inner_lr=0.02", *RUN]
    checkpoint.save(Path("mine.pt"), {**state, "overrides": made_by, "run": None})
    line = ["checkpoint=mine.pt", "evaluation.tasks=5"]
    built = experiment(line)
    assert (built.name.algorithm, built.learner.inner_lr) == ("fomaml", 0.02)
    assert config(line).algorithm.inner_lr == 0.02
    assert mamlbench(*line).code == 0
    assert finished(run)[0] == built.folder.path


def test_no_checkpoint_no_change():
    for line in (["seed=1"], ["checkpoint=null"], ["checkpoint="]):
        assert with_overrides_of_checkpoint(line) == line


def test_a_class_typed_again_is_trusted(run):
    state = checkpoint.load(run / "best.pt")
    made_by = ["algorithm._target_=my_lab.Learner", *TINY["sinusoid"]]
    checkpoint.save(Path("mine.pt"), {**state, "overrides": made_by, "run": None})
    typed = ["checkpoint=mine.pt", "algorithm._target_=my_lab.Learner"]
    assert with_overrides_of_checkpoint(typed) == [*TINY["sinusoid"], *typed]


def test_a_sweep_over_protocols(mamlbench, run):
    line = [f"checkpoint={run}", "evaluation.inner_steps=1,2", "evaluation.tasks=3"]
    assert mamlbench("-m", *line).code == 0
    assert len(list(Path("outputs").rglob("summary.json"))) == 3  # including the training run
