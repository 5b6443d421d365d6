"""One run: its files, the checkpoint that it tests, and when it is repeated."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import runs
import torch
import yaml

from mamlbench.algorithms import MetaLearner
from mamlbench.compose import experiment
from mamlbench.errors import UserError
from mamlbench.estimate import Estimate
from mamlbench.experiment import Experiment
from mamlbench.objectives import Classification
from mamlbench.report.runs import read_run
from mamlbench.run.signals import Stopped
from mamlbench.run.terminal import report

SCHEDULE = [
    "training.iterations=20",
    "training.log_every=5",
    "training.validate_every=10",
    "training.checkpoint_every=10",
]


def test_what_a_run_leaves(tmp_path: Path) -> None:
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *SCHEDULE, "seed=3"))
    summary = run.run()
    folder = run.folder.path
    assert folder.parent.parent == tmp_path / "default" / "maml" / "sinusoid" / "10shot"
    assert folder.name == "seed3"

    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics.columns[0] == "iteration"
    assert metrics["iteration"].tolist() == [5, 10, 15, 20]
    assert metrics["val/mse"].notna().tolist() == [False, True, False, True]
    assert (metrics["val/mse_ci95"].dropna() > 0).all()

    tests = pd.read_csv(folder / "test_tasks.csv")
    assert tests.columns.tolist() == ["task", "step", "loss", "mse"]
    assert tests["task"].tolist() == [task for task in range(8) for _ in range(3)]
    assert tests["step"].tolist() == [0, 1, 2] * 8
    assert json.loads((folder / "summary.json").read_text()) == summary
    for step, entry in enumerate(summary["test"]["by_step"]):
        by_hand = Estimate.of(tests[tests["step"] == step]["mse"].to_numpy())
        assert entry["mse"]["mean"] == pytest.approx(by_hand.mean, rel=1e-12)
        assert entry["mse"]["ci95"] == pytest.approx(by_hand.ci95, rel=1e-9)
    assert summary["test"]["mse"] == summary["test"]["by_step"][-1]["mse"]
    assert summary["test"]["mse"]["n_tasks"] == 8
    assert summary["train"]["iterations"] == 20
    assert summary["versions"]["torch"] == torch.__version__

    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert written["algorithm"]["inner_lr"] == 0.01
    assert "algorithm=maml" in written["about"]["command"]
    assert {path.name for path in run.folder.figures.iterdir()} == {
        "learning_curve.png",
        "mse_by_step.png",
        "fits.png",
    }


def test_what_active_learning_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["training.iterations=2", "evaluation=active_learning", "evaluation.active_rounds=2"]
    run = experiment([*options, *runs.overrides(tmp_path, "maml", "glyphs")])
    summary = run.run()
    assert summary["evaluation"].endswith("; then 2 labels asked for, from 20 points")
    assert {"ece", "nll", "brier"} <= summary["test"].keys()
    assert summary["test"]["ece"] == summary["test"]["by_step"][-1]["ece"]
    assert sum(summary["reliability"]["queries"]) == 4 * 5  # tasks and queries
    rows = pd.read_csv(run.folder.path / "active_learning.csv")
    assert len(rows) == 4 * 2 * 3  # tasks, strategies, and 0 to 2 labels
    for label, entry in enumerate(summary["active_learning"]["curve"]):
        for strategy in ("uncertainty", "random"):
            chosen = rows[(rows["queried"] == label) & (rows["strategy"] == strategy)]
            mean = entry[strategy]["accuracy"]["mean"]
            assert mean == pytest.approx(chosen["accuracy"].mean(), rel=1e-9)
    assert {"reliability.png", "active_learning.png"} <= {
        path.name for path in run.folder.figures.iterdir()
    }
    report(run, summary)
    assert "| largest entropy of the prediction |" in capsys.readouterr().out


def test_choosing_by_variance_takes_particles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["training.iterations=2", "evaluation=active_learning", "evaluation.active_rounds=1"]
    run = experiment([*options, *runs.overrides(tmp_path, "maml", "sinusoid")])
    summary = run.run()
    assert [list(entry) for entry in summary["active_learning"]["curve"]] == [["random"]] * 2
    report(run, summary)
    assert "regression needs a learner with 2 or more particles" in capsys.readouterr().out


def test_a_run_scored_every_other_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["evaluation.inner_steps=5", "evaluation.score_every=2", "training.iterations=1"]
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *options))
    summary = run.run()
    scored = [step for step, entry in enumerate(summary["test"]["by_step"]) if entry is not None]
    assert scored == [0, 2, 4, 5]
    assert "5 inner steps" in summary["evaluation"]
    assert json.loads((run.folder.path / "summary.json").read_text()) == summary
    report(run, summary)
    [head] = [row for row in capsys.readouterr().out.splitlines() if "| inner steps" in row]
    assert head.strip("| ").split() == ["inner", "steps", "|", "0", "|", "2", "|", "5"]


def test_what_ambiguous_tasks_report_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    means = {"accuracy": 0.5, "nll": 0.7, "coverage": 1.9, "assigned_accuracy": 0.75}
    step = {n: {"mean": mean, "ci95": 0.02, "n_tasks": 4} for n, mean in means.items()}
    summary = {"test": {"by_step": [step]}, "evaluation": "so", "diverged_tasks": 0}
    dataset = SimpleNamespace(objective=Classification())
    nowhere = SimpleNamespace(figures=Path("nowhere"))
    report(
        SimpleNamespace(dataset=dataset, folder=nowhere, name=SimpleNamespace(label="run")), summary
    )
    rows = [row.strip("| ").split("|") for row in capsys.readouterr().out.splitlines()]
    assert [[cell.strip() for cell in row] for row in rows if "±" in row[-1]] == [
        ["accuracy, %", "50.00 ± 2.00"],
        ["NLL", "0.700 ± 0.020"],
        ["coverage", "1.900 ± 0.020"],
        ["assigned accuracy, %", "75.00 ± 2.00"],
    ]


def test_a_pool_too_large_is_said_before_training(tmp_path: Path) -> None:
    options = ["evaluation=active_learning", "evaluation.active_pool=96"]
    run = experiment([*options, *runs.overrides(tmp_path, "maml", "glyphs")])
    with pytest.raises(UserError, match=r"^evaluation.active_pool=96: accepted is fewer: "):
        run.run()
    assert not run.folder.path.exists()


def test_the_same_command_shows_a_finished_run(tmp_path: Path) -> None:
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SCHEDULE)
    first = experiment(arguments).run()
    again = experiment(arguments)
    again.dataset.load = None  # a finished run reads no data
    assert again.run() == first


def test_a_figure_that_fails_costs_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no such colour")

    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SCHEDULE)
    run = experiment(arguments)
    monkeypatch.setattr("mamlbench.figures.of_run.draw_figures", fail)
    with pytest.raises(ValueError, match="no such colour"):
        run.run()
    assert experiment(arguments).run() == json.loads(run.folder.summary.read_text())
    assert not list(run.folder.path.glob("test_so_far_*"))


def test_restart_begins_anew(tmp_path: Path) -> None:
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SCHEDULE)
    run = experiment(arguments)
    run.run()
    clip = run.folder.figures / "clip.gif"  # a machine without a screen would not draw it again
    clip.touch()
    before = runs.result(run.folder.path)
    checkpoint = run.folder.path / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True)
    state["learner"]["network.head.bias"] += 1.0
    torch.save(state, checkpoint)
    again = experiment([*arguments, "restart=true"])
    assert again.folder.path == run.folder.path
    again.run()
    assert not clip.exists()
    after = runs.result(run.folder.path)
    assert after.pop("parameters") == before.pop("parameters")
    assert after["metrics"] == before["metrics"]


def test_the_hash_is_of_what_changes_the_result() -> None:
    def folder(*more: str) -> Path:
        return experiment(["logger=csv", *more]).folder.path

    base = folder()
    for harmless in ("training.log_every=7", "hardware.threads=1", "on_nan=skip", "restart=true"):
        assert folder(harmless) == base
    assert folder("logger=tensorboard") == base
    assert folder("seed=1").parent == base.parent
    for other in ("algorithm.inner_lr=0.02", "evaluation.tasks=7", "hardware.precision=float64"):
        assert folder(other).parent != base.parent


def test_best_by_validation_is_what_is_tested(tmp_path: Path) -> None:
    """A learner that gets worse after its best validation is tested with its best parameters."""
    settings = [*SCHEDULE, "evaluation.select=best", "training.validate_every=5"]
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *settings))
    values = iter([0.5, 0.25, 2.0, 3.0])

    from mamlbench import training

    real = training.evaluate
    seen = []

    def scripted(*args: object, **kwargs: object) -> object:
        scores = real(*args, **kwargs)
        if args[2] == "val":
            scores.by_task["mse"][:] = next(values)
            seen.append({k: v.clone() for k, v in run.learner.network.state_dict().items()})
        return scores

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "evaluate", scripted)
        summary = run.run()
    assert summary["validation"] == {"value": 0.25, "iteration": 10}
    assert summary["checkpoint"] == "best.pt"
    tested = run.learner.network.state_dict()
    assert all(torch.equal(tested[name], seen[1][name]) for name in tested)
    assert not all(torch.equal(tested[name], seen[3][name]) for name in tested)


def test_float64_runs_in_float64(tmp_path: Path) -> None:
    arguments = runs.overrides(tmp_path, "maml", "glyphs", *SCHEDULE, "hardware.precision=float64")
    run = experiment([*arguments, "training.iterations=2"])
    run.run()
    state = torch.load(run.folder.path / "checkpoint.pt", weights_only=True)
    assert state["learner"]["network.head.weight"].dtype is torch.float64


def test_a_run_depends_on_its_seed_and_on_nothing_else(tmp_path: Path) -> None:
    def parameters(outputs: str, *more: str) -> dict[str, bytes]:
        run = experiment(runs.overrides(tmp_path / outputs, "maml", "sinusoid", *SCHEDULE, *more))
        torch.manual_seed(int(outputs))  # earlier use of random numbers in this process
        np.random.seed(int(outputs))  # noqa: NPY002
        run.run()
        return runs.result(run.folder.path)["parameters"]

    assert parameters("1") == parameters("2")
    assert parameters("3", "seed=1") != parameters("1")


def test_a_run_that_goes_on_with_other_code_tells_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = runs.overrides(tmp_path, "maml", "sinusoid", *SCHEDULE)
    first = experiment(line)
    runs.stop_at(first, 3, monkeypatch)
    monkeypatch.setattr("mamlbench.training.commit", lambda: "a" * 40)
    with pytest.raises(Stopped):
        first.run()
    monkeypatch.setattr("mamlbench.training.commit", lambda: "b" * 40 + "+")
    again = experiment(line)
    again.run()
    summary = json.loads((again.folder.path / "summary.json").read_text())
    left = summary["train"]["iterations"] - 3
    told = f"{'a' * 40} (3 iterations), then {'b' * 40}+ ({left} iterations)"
    assert summary["commits"] == told
    read = read_run(again.folder.path)
    assert read.code == f"{'a' * 40}, then {'b' * 40}+"
    assert read.short_code == (
        f"commit aaaaaaa (3 iterations), then commit bbbbbbb+ ({left} iterations)"
    )


def test_testing_a_checkpoint(tmp_path: Path) -> None:
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *SCHEDULE))
    trained = run.run()
    arguments = [*run.overrides, f"checkpoint={run.folder.path}"]
    same = experiment(arguments)
    assert same.folder.path != run.folder.path
    assert same.run()["test"] == trained["test"]
    more_steps = experiment([*arguments, "evaluation.inner_steps=4"]).run()
    assert more_steps["test"]["by_step"][:3] == trained["test"]["by_step"]
    assert len(more_steps["test"]["by_step"]) == 5
    with pytest.raises(UserError, match="has another architecture: it "):
        experiment([*arguments, "network.hidden=[9]"])


@pytest.mark.parametrize("algorithm", ["maml", "mamlpp"])
def test_schedules_go_on_by_a_step_that_is_skipped(tmp_path: Path, algorithm: str) -> None:
    options = [
        *("training.iterations=4", "training.validate_every=0", "on_nan=skip"),
        *("algorithm.inner_lr=1e30", "algorithm.inner_steps=3", "algorithm.outer_schedule=linear"),
    ]
    run = experiment(runs.overrides(tmp_path, algorithm, "sinusoid", *options))
    run.run()
    state = torch.load(run.folder.path / "checkpoint.pt", weights_only=True)
    assert state["skipped"] == 4
    assert state["scheduler"]["last_epoch"] == 4
    assert state["learner"].get("_extra_state", {"outer_steps": 4}) == {"outer_steps": 4}


def before_the_fourth_step(
    run: Experiment, happens: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = run.learner.meta_step

    def watched(tasks: object) -> object:
        if run.learner.scheduler.last_epoch == 3:
            happens()
        return step(tasks)

    monkeypatch.setattr(run.learner, "meta_step", watched)


@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_parameters_that_are_lost_are_no_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_nan: str
) -> None:
    options = ["training.checkpoint_every=1", "training.validate_every=0", f"on_nan={on_nan}"]
    line = runs.overrides(tmp_path, "maml", "sinusoid", *options, "training.iterations=6")
    run = experiment(line)

    def spoil() -> None:
        for parameter in run.learner.parameters():
            parameter.data.fill_(math.nan)

    before_the_fourth_step(run, spoil, monkeypatch)
    with pytest.raises(UserError, match=r"iteration 4: .*, and neither are the parameters since"):
        run.run()
    state = torch.load(run.folder.path / "checkpoint.pt", weights_only=True)
    assert state["iteration"] == 3
    assert all(value.isfinite().all() for value in state["learner"].values())


@pytest.fixture
def _not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps as on a GPU: one that is not finite changes nothing and is counted later."""

    def guarded(self: MetaLearner, losses: torch.Tensor) -> None:
        gradients = [p.grad for p in self.learned if p.grad is not None]
        self.finite.guard([losses, *gradients], self.optimizer)

    monkeypatch.setattr(MetaLearner, "_check_finite", guarded)


@pytest.mark.usefixtures("_not_waited_for")
def test_parameters_that_are_lost_end_a_run_on_a_gpu_too(tmp_path: Path) -> None:
    usual = ["training.iterations=6", "training.log_every=2", "training.validate_every=0"]
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *usual, "on_nan=skip"))
    for parameter in run.learner.parameters():
        parameter.data.fill_(math.nan)
    with pytest.raises(
        UserError, match=r"iteration 2: 2 of the steps .*, and neither are the para"
    ):
        run.run()


@pytest.mark.parametrize("stops", [True, False])
def test_a_worker_that_the_same_signal_ended_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", "training.validate_every=0"))

    def end() -> None:
        if stops:
            os.kill(os.getpid(), signal.SIGTERM)
        raise UserError("the environment failed: a worker ended")

    before_the_fourth_step(run, end, monkeypatch)
    with pytest.raises(Stopped if stops else UserError):
        run.run()
    state = torch.load(run.folder.path / "checkpoint.pt", weights_only=True)
    assert state["iteration"] == 3


def test_where_a_gpus_memory_is_full_it_is_told_what_needs_less_and_nothing_half_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory may fill up during an update, so that only the previous checkpoint is sound."""
    line = runs.overrides(tmp_path, "maml", "sinusoid", "training.checkpoint_every=2")
    run = experiment(line)
    count, counted = run.learner.count_step, []

    def fill() -> None:
        count()
        counted.append(None)
        if len(counted) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run.learner, "count_step", fill)
    with pytest.raises(UserError, match=r"memory is full; accepted is a smaller hardware\.task_ch"):
        run.run()
    state = torch.load(run.folder.path / "checkpoint.pt", weights_only=True)
    assert state["iteration"] == 2


@pytest.mark.usefixtures("_not_waited_for")
def test_steps_refused_on_a_gpu_count_when_it_is_waited_for(tmp_path: Path) -> None:
    """Simulated on a CPU, whose optimisers can skip steps in the same way."""
    usual = ["training.iterations=4", "training.log_every=2", "training.validate_every=0"]
    options = [*usual, "algorithm.inner_lr=1e30", "algorithm.inner_steps=3"]
    line = runs.overrides(tmp_path, "maml", "sinusoid", *options)
    with pytest.raises(UserError, match=r"iteration 2: 2 of the steps since .* on_nan=skip"):
        experiment(line).run()
    run = experiment([*line, "on_nan=skip"])
    before = {name: p.clone() for name, p in run.learner.named_parameters()}
    run.run()
    state = torch.load(run.folder.path / "checkpoint.pt", weights_only=True)
    assert state["skipped"] == 4
    assert all(torch.equal(state["learner"][name], p) for name, p in before.items())
    assert json.loads((run.folder.path / "summary.json").read_text())["train"]
