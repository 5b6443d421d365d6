"""Whole runs on a GPU: precision, compiling, resuming, non-finite steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import runs
import torch

from mamlbench import checkpoint
from mamlbench.compose import experiment
from mamlbench.errors import UserError
from mamlbench.experiment import Experiment
from mamlbench.run.signals import Stopped

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

STEPS = 12


def made(outputs: Path, *more: str, dataset: str = "glyphs", algorithm: str = "maml") -> Experiment:
    options = ["hardware=gpu", f"training.iterations={STEPS}", "training.checkpoint_every=4", *more]
    return experiment([*runs.overrides(outputs, algorithm, dataset), *options])


def run(outputs: Path, *more: str, **names: str) -> Experiment:
    done = made(outputs, *more, **names)
    done.run()
    return done


def losses(done: Experiment) -> list[float]:
    return [float(row["train/loss"]) for row in metrics(done) if row["train/loss"]]


def metrics(done: Experiment) -> list[dict[str, str]]:
    found: list[dict[str, str]] = runs.result(done.folder.path)["metrics"]
    return found


@pytest.mark.parametrize("dataset", ["glyphs", "sinusoid"])
def test_training_is_that_of_a_cpu(tmp_path: Path, dataset: str) -> None:
    options = ["training.log_every=1", "hardware.precision=float64"]
    on_gpu = run(tmp_path / "gpu", *options, dataset=dataset)
    on_cpu = run(tmp_path / "cpu", *options, "hardware.device=cpu", dataset=dataset)
    assert len(losses(on_gpu)) == STEPS
    assert losses(on_gpu) == pytest.approx(losses(on_cpu), rel=1e-4)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_shorter_products_train_alike(tmp_path: Path, precision: str) -> None:
    exact = run(tmp_path / "float32", "training.log_every=4")
    shorter = run(tmp_path / precision, "training.log_every=4", f"hardware.precision={precision}")
    assert losses(shorter) == pytest.approx(losses(exact), rel=0.1)


def test_a_resumed_run_goes_on_from_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", "training.log_every=4")
    first = made(tmp_path / "parts", "training.log_every=4")
    runs.stop_at(first, 8, monkeypatch)
    with pytest.raises(Stopped):
        first.run()
    rest = run(tmp_path / "parts", "training.log_every=4")
    assert rest.folder == first.folder
    assert len(losses(whole)) == len(losses(rest)) == STEPS // 4
    assert losses(rest)[-1] == pytest.approx(losses(whole)[-1], rel=1e-3)


def test_a_resumed_run_goes_on_with_the_gpus_random_numbers(tmp_path: Path) -> None:
    done = run(tmp_path, dataset="sinusoid")
    state = checkpoint.load(done.folder.path / "checkpoint.pt")
    torch.rand(1, device="cuda")
    assert not torch.equal(torch.cuda.get_rng_state(), state["gpu_generator"])
    done.folder.summary.unlink()
    run(tmp_path, dataset="sinusoid")
    assert torch.equal(torch.cuda.get_rng_state(), state["gpu_generator"])


def test_a_step_that_is_not_finite_changes_nothing(tmp_path: Path) -> None:
    options = ["algorithm.inner_lr=1e30", "algorithm.inner_steps=3", "training.validate_every=0"]
    with pytest.raises(UserError, match=r"iteration 4: 4 of the steps since .* changed nothing"):
        run(tmp_path, *options, dataset="sinusoid")
    skipping = run(tmp_path, *options, "on_nan=skip", dataset="sinusoid")
    state = checkpoint.load(skipping.folder.path / "checkpoint.pt")
    assert state["skipped"] == STEPS
    assert all(v.isfinite().all() for v in state["learner"].values() if torch.is_tensor(v))


@pytest.mark.filterwarnings("default")  # torch's compiler uses deprecated parts of torch
def test_a_compiled_run(tmp_path: Path) -> None:
    exact = run(tmp_path / "exact", "training.log_every=4", dataset="sinusoid")
    compiled = run(
        tmp_path / "compiled", "training.log_every=4", "hardware.compile=true", dataset="sinusoid"
    )
    assert losses(compiled) == pytest.approx(losses(exact), rel=1e-3)
