"""The calibration error against sums by hand, and its interval against scipy's bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from mamlbench.evaluation.calibration import Reliability
from mamlbench.objectives import Classification


def test_tasks_are_pooled_before_the_error_is_taken():
    """Two predictions of confidence 0.8, one right, one wrong: joint gap 0.3, not the mean 0.5.

    With the other bin: (2 x 0.3 + 1 x 0.05) / 3.
    """
    bins = np.zeros((1, 2, 15, 3))
    bins[0, 0, 11] = 1, 0.8, 1
    bins[0, 1, 11] = 1, 0.8, 0
    bins[0, 1, 14] = 1, 0.95, 1
    [error] = Reliability(bins).errors()
    assert error.mean == pytest.approx((2 * 0.3 + 0.05) / 3)
    assert error.n_tasks == 2
    assert Reliability(bins).diagram() == {
        "queries": [0] * 11 + [2, 0, 0, 1],
        "confidence": [None] * 11 + [0.8, None, None, 0.95],
        "accuracy": [None] * 11 + [0.5, None, None, 1.0],
    }


def predictions(tasks, queries=6, seed=0):
    """Outputs and labels of an overconfident classifier of three classes, on `tasks` tasks."""
    generator = torch.Generator().manual_seed(seed)
    outputs = 2 * torch.randn(tasks, 1, queries, 3, generator=generator, dtype=torch.float64)
    y = torch.distributions.Categorical(logits=outputs[:, 0] / 3)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return outputs, y.sample()


def expected_error(confidence, right):
    """A plain loop over the bins."""
    total = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            total += inside.mean() * gap
    return total


def test_error_and_interval_against_a_loop_and_scipy():
    outputs, y = predictions(tasks=80)
    bins = Classification().calibration(outputs, y).numpy()[None]
    [error] = Reliability(bins).errors()
    probabilities, guess = (v.numpy() for v in outputs[:, 0].softmax(-1).max(-1))
    right = (guess == y.numpy()).astype(float)
    assert error.mean == pytest.approx(expected_error(probabilities.ravel(), right.ravel()))

    def of_tasks(tasks):
        return expected_error(probabilities[tasks].ravel(), right[tasks].ravel())

    bootstrap = stats.bootstrap(
        (np.arange(80),), of_tasks, n_resamples=1000, method="percentile", vectorized=False,
        random_state=np.random.default_rng(1),
    )  # fmt: skip
    # two bootstraps of 1,000 samples: each deviation is known to 1 / sqrt(2000), 2.2 %
    assert error.ci95 == pytest.approx(1.96 * bootstrap.standard_error, rel=0.12)


def test_every_step_has_its_own_error_of_the_same_samples():
    parts = [Classification().calibration(*predictions(40, seed=seed)).numpy() for seed in (0, 1)]
    together = Reliability(np.stack(parts)).errors()
    for found, part in zip(together, parts, strict=True):
        [alone] = Reliability(part[None]).errors()
        assert found.mean == pytest.approx(alone.mean, rel=1e-12)
        assert found.ci95 == pytest.approx(alone.ci95, rel=1e-9)


def test_one_task_has_no_interval():
    [error] = Reliability(Classification().calibration(*predictions(1)).numpy()[None]).errors()
    assert np.isnan(error.ci95)
    assert np.isfinite(error.mean)
    assert error.n_tasks == 1


def test_the_error_of_a_prediction_that_is_not_finite_is_nan():
    outputs, y = predictions(3)
    outputs[1] = float("nan")
    [error] = Reliability(Classification().calibration(outputs, y).numpy()[None]).errors()
    assert np.isnan(error.mean)
    assert np.isnan(error.ci95)
