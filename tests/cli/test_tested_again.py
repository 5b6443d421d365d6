"""`checkpoint=`: a trained model tested again with other settings, without training."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf
from runs import RUN, TINY

from mamlbench import checkpoint
from mamlbench.compose import config
from mamlbench.report.runs import read_run
from mamlbench.run.made_by import with_overrides_of_checkpoint

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
    checkpoint.save(path, {**state, "overrides": made_by})
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
    checkpoint.save(Path("mine.pt"), {**state, "overrides": ["algorithm=mine"]})
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
        "training.iterations=9",
    ]
    checkpoint.save(Path("mine.pt"), {**state, "overrides": made_by})
    typed = ["evaluation=maml", "checkpoint=mine.pt", "algorithm.inner_steps=2"]
    assert with_overrides_of_checkpoint(typed) == [
        "algorithm=reptile",
        "training.iterations=9",
        *typed,
    ]


def test_no_checkpoint_no_change():
    for line in (["seed=1"], ["checkpoint=null"], ["checkpoint="]):
        assert with_overrides_of_checkpoint(line) == line


def test_a_class_typed_again_is_trusted(run):
    state = checkpoint.load(run / "best.pt")
    made_by = ["algorithm._target_=my_lab.Learner", *TINY["sinusoid"]]
    checkpoint.save(Path("mine.pt"), {**state, "overrides": made_by})
    typed = ["checkpoint=mine.pt", "algorithm._target_=my_lab.Learner"]
    assert with_overrides_of_checkpoint(typed) == [*TINY["sinusoid"], *typed]


def test_a_sweep_over_protocols(mamlbench, run):
    line = [f"checkpoint={run}", "evaluation.inner_steps=1,2", "evaluation.tasks=3"]
    assert mamlbench("-m", *line).code == 0
    assert len(list(Path("outputs").rglob("summary.json"))) == 3  # including the training run
