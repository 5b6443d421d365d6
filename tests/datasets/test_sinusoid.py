"""Sinusoids: the formula, the ranges, and how they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from mamlbench.datasets import Sinusoid
from mamlbench.errors import BadValue


def test_points_lie_on_the_wave():
    tasks = Sinusoid(shots=4, queries=6).sample("train", 0, 0, 50)
    amplitude, phase = (tasks.info[name][:, None, None] for name in ("amplitude", "phase"))
    for side, count in ((tasks.support, 4), (tasks.query, 6)):
        assert side.x.shape == side.y.shape == (50, count, 1)
        assert side.x.dtype == side.y.dtype == torch.float32
        expected = amplitude * np.sin(side.x.double().numpy() - phase)
        np.testing.assert_allclose(side.y.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("options", "turn"), [({}, 1.0), ({"phase": (0.0, 2.0)}, 2.0)])
def test_ranges_of_mamls_and_reptiles_sinusoids(options, turn):
    tasks = Sinusoid(**options).sample("test", 0, 0, 3000)
    for values, low, high in (
        (tasks.info["amplitude"], 0.1, 5.0),
        (tasks.info["phase"], 0.0, turn * np.pi),
        (tasks.support.x[:, 0, 0].numpy(), -5.0, 5.0),
    ):
        assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.001
    draws = np.stack([tasks.info["amplitude"], tasks.info["phase"]])
    assert abs(np.corrcoef(draws)[0, 1]) < 5 / 3000**0.5


def test_fewer_shots_at_meta_test_than_at_meta_training():
    dataset = Sinusoid(shots=5, train_shots=10, queries=2)
    assert dataset.sample("train", 0, 0, 1).support.x.shape == (1, 10, 1)
    assert dataset.sample("test", 0, 0, 1).support.x.shape == (1, 5, 1)
    assert dataset.setting == "5shot"


def test_seeds_for_the_learner_are_the_tasks_own():
    dataset = Sinusoid()
    seeds = dataset.sample("train", 0, 0, 30).support.seeds
    assert len(np.unique(seeds)) == 30
    assert (seeds >= 0).all()
    assert dataset.sample("train", 0, 4, 1).support.seeds == seeds[4]
    assert dataset.sample("train", 1, 4, 1).support.seeds != seeds[4]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("shots", 0),
        ("queries", -1),
        ("train_shots", 0),
        ("amplitude", (2.0, 1.0)),
        ("phase", (1.0, 0.0)),
        ("domain", (1.0, -1.0)),
    ],
)
def test_bad_values_are_named(option, value):
    with pytest.raises(BadValue) as error:
        Sinusoid(**{option: value})
    assert error.value.option == option


def test_an_oracle_is_told_what_the_wave_is():
    tasks = Sinusoid(shots=4, queries=6, oracle=True).sample("test", 0, 0, 50)
    plain = Sinusoid(shots=4, queries=6).sample("test", 0, 0, 50)
    for side, other in ((tasks.support, plain.support), (tasks.query, plain.query)):
        x, amplitude, phase = side.x.double().unbind(-1)
        np.testing.assert_allclose(amplitude * torch.sin(x - phase), side.y[..., 0], atol=1e-5)
        assert torch.equal(side.x[..., :1], other.x)
        assert torch.equal(side.y, other.y)
