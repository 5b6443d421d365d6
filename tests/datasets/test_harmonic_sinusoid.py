"""Bayesian MAML's sinusoids: the formula, the noise, and the finite set of tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from mamlbench.datasets import HarmonicSinusoid
from mamlbench.errors import BadValue


def residuals(tasks, side) -> np.ndarray:
    """Targets minus the wave, in units of the amplitude, [T, M]."""
    amplitude, phase, frequency = (
        tasks.info[name][:, None] for name in ("amplitude", "phase", "frequency")
    )
    x, y = side.x[..., 0].double().numpy(), side.y[..., 0].double().numpy()
    return y / amplitude - np.sin(frequency * x - phase)


def test_ranges():
    tasks = HarmonicSinusoid().sample("test", 0, 0, 3000)
    for values, low, high in (
        (tasks.info["amplitude"], 0.1, 5.0),
        (tasks.info["phase"], 0.0, 2 * math.pi),
        (tasks.info["frequency"], 0.5, 2.0),
        (tasks.support.x[:, 0, 0].numpy(), -5.0, 5.0),
    ):
        assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.001
    draws = np.stack([tasks.info[name] for name in ("amplitude", "phase", "frequency")])
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 5 / 3000**0.5


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_noise_is_a_part_of_the_amplitude_and_spares_targets_that_judge(split):
    tasks = HarmonicSinusoid(finite=None).sample(split, 0, 0, 2000)
    support, query = (residuals(tasks, side) for side in (tasks.support, tasks.query))
    assert stats.kstest(support.reshape(-1), "norm", (0, 0.01)).pvalue > 0.001
    if split == "train":
        assert stats.kstest(query.reshape(-1), "norm", (0, 0.01)).pvalue > 0.001
    else:
        assert np.abs(query).max() < 2e-5


def test_training_has_as_many_functions_as_said_whatever_the_seed_and_the_points():
    seen = []
    for seed, shots in ((0, 5), (1, 10)):
        tasks = HarmonicSinusoid(shots=shots, queries=shots, finite=20).sample(
            "train", seed, 0, 2000
        )
        seen.append(np.unique(tasks.info["frequency"]))
        counts = np.bincount(tasks.info["function"], minlength=20)
        assert stats.chisquare(counts).pvalue > 0.001
    assert len(seen[0]) == 20
    assert np.array_equal(*seen)
    more = HarmonicSinusoid(finite=30).sample("train", 0, 0, 2000)
    assert set(seen[0]) < set(more.info["frequency"])  # a larger set extends a smaller one


def test_meta_test_has_functions_of_its_own():
    dataset = HarmonicSinusoid(finite=20)
    trained = set(dataset.sample("train", 0, 0, 500).info["frequency"])
    for split in ("val", "test"):
        tested = dataset.sample(split, 0, 0, 100).info["frequency"]
        assert len(set(tested)) == 100
        assert not trained & set(tested)


@pytest.mark.parametrize("fixed", [True, False])
def test_points_of_a_function_are_fixed_or_new(fixed):
    tasks = HarmonicSinusoid(finite=10, fixed_points=fixed).sample("train", 3, 0, 200)
    for number in range(10):
        rows = np.flatnonzero(tasks.info["function"] == number)
        assert len(rows) > 2
        for side in (tasks.support, tasks.query):
            same = [torch.equal(side.x[rows[0]], side.x[row]) for row in rows[1:]]
            values = [torch.equal(side.y[rows[0]], side.y[row]) for row in rows[1:]]
            assert all(same) if fixed else not any(same)
            assert all(values) if fixed else not any(values)
    assert len(np.unique(tasks.support.seeds)) == 200


def test_without_a_set_functions_never_come_again():
    tasks = HarmonicSinusoid(finite=None).sample("train", 0, 0, 500)
    assert len(np.unique(tasks.info["frequency"])) == 500
    assert "function" not in tasks.info


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("finite", 0),
        ("shots", 0),
        ("noise_ratio", -0.1),
        ("amplitude", (2.0, 1.0)),
        ("phase", (1.0, 0.0)),
        ("frequency", (2.0, 0.5)),
        ("domain", (1.0, -1.0)),
    ],
)
def test_bad_values_are_named(option, value):
    with pytest.raises(BadValue) as error:
        HarmonicSinusoid(**{option: value})
    assert error.value.option == option
