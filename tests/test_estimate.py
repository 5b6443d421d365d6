"""Means and intervals against scipy and against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mamlbench.estimate import Estimate
from mamlbench.metrics import shown


def test_by_hand():
    """1, 2, 3: mean 2, standard error 1 / sqrt(3), and t for 2 degrees of freedom is 4.3027."""
    estimate = Estimate.of(np.array([1.0, 2.0, 3.0]))
    assert estimate.mean == 2.0
    assert estimate.ci95 == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert estimate.as_dict() == {"mean": 2.0, "ci95": estimate.ci95, "n_tasks": 3}


@pytest.mark.parametrize("count", [2, 7, 600])
def test_interval_is_scipys(count):
    values = np.random.default_rng(0).normal(3.0, 2.0, count)
    estimate = Estimate.of(values)
    low, high = stats.t.interval(0.95, count - 1, values.mean(), values.std(ddof=1) / count**0.5)
    assert estimate.mean - estimate.ci95 == pytest.approx(low)
    assert estimate.mean + estimate.ci95 == pytest.approx(high)


def test_one_task_has_no_interval():
    one = Estimate.of(np.array([0.25]))
    assert (one.mean, one.n_tasks) == (0.25, 1)
    assert np.isnan(one.ci95)
    assert shown("mse", one.mean, one.ci95) == shown("mse", 0.25) == "0.250"


def test_float32_values_are_averaged_in_double():
    values = np.full(10_001, 0.1, dtype=np.float32)
    assert Estimate.of(values).mean == pytest.approx(float(np.float32(0.1)), abs=1e-15)
