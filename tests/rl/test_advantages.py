"""Returns, baseline and advantages against loops, hand-made numbers and least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import lstsq

from mamlbench.rl.advantages import (
    RIDGE,
    advantages,
    discounted_sums,
    features,
    fitted_values,
    standardised,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_discounted_sums_by_hand():
    sums = discounted_sums(torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 8.0]]), 0.5)
    assert sums.tolist() == [[3.0, 4.0, 4.0], [2.0, 4.0, 8.0]]


def test_features_by_hand():
    observations = torch.tensor([[[2.0, -30.0], [3.0, 1.0]]], dtype=torch.float64)
    found = features(observations, torch.tensor([[1.0, 2.0]], dtype=torch.float64))
    expected = [
        [2.0, -10.0, 4.0, 100.0, 0.0, 0.0, 0.0, 1.0],
        [3.0, 1.0, 9.0, 1.0, 0.01, 1e-4, 1e-6, 1.0],
    ]
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_the_baseline_is_ridge_regression_on_the_steps_taken():
    observations, returns = random(2, 35, 3), random(2, 35, seed=1)
    lengths = torch.tensor([[7, 3, 5, 7, 1], [2, 7, 7, 4, 6]])
    steps = torch.arange(1.0, 8.0, dtype=torch.float64)
    number = (steps * (steps <= lengths.unsqueeze(-1))).flatten(1)
    found = fitted_values(observations, returns, number)
    for task in range(2):
        taken = number[task].bool().numpy()
        x = features(observations, number)[task].numpy()[taken]
        y = returns[task].numpy()[taken]
        # the ridge as additional rows, solved by another method (singular values)
        rows = np.concatenate([x, np.sqrt(RIDGE) * np.eye(x.shape[1])])
        weights = lstsq(rows, np.concatenate([y, np.zeros(x.shape[1])]))[0]
        np.testing.assert_allclose(found[task].numpy()[taken], x @ weights, rtol=1e-6, atol=1e-8)
        assert (found[task].numpy()[~taken] == 0).all()


@pytest.mark.usefixtures("_keep_threads")
def test_the_baseline_of_an_ant_is_the_same_on_several_threads():
    """With its 254 columns, torch's batched LU goes wrong (pytorch issue 142815)."""
    observations, returns = random(3, 300, 125), random(3, 300, seed=1)
    number = torch.arange(1.0, 101.0).repeat(3, 3)
    found = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found[threads] = fitted_values(observations, returns, number)
    torch.testing.assert_close(found[2], found[1], rtol=1e-6, atol=1e-8)
    each = [
        fitted_values(*one)
        for one in zip(*(t.split(1) for t in (observations, returns, number)), strict=True)
    ]
    torch.testing.assert_close(found[2], torch.cat(each), rtol=1e-6, atol=1e-8)


def test_a_task_that_is_not_finite_spoils_no_other():
    observations, returns = random(2, 24, 2), random(2, 24, seed=1)
    number = torch.arange(1.0, 7.0).repeat(2, 4)
    expected = fitted_values(observations, returns, number)[1]
    broken = observations.clone()
    broken[0, 8] = torch.nan
    found = fitted_values(broken, returns, number)
    assert torch.isnan(found[0]).any()
    torch.testing.assert_close(found[1], expected)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.6, 1.0])
def test_advantages_against_their_sum(gae_lambda):
    """Episodes of 4 and 2 steps, against the sums of the definition."""
    discount = 0.9
    alive = torch.tensor([[[1.0, 1, 1, 1], [1, 1, 0, 0]]], dtype=torch.float64)
    rewards, values = random(1, 2, 4) * alive, random(1, 2, 4, seed=1)
    raw = []
    for episode, length in ((0, 4), (1, 2)):
        r = rewards[0, episode, :length].tolist()
        v = [*values[0, episode, :length].tolist(), 0.0]
        delta = [r[t] + discount * v[t + 1] - v[t] for t in range(length)]
        decay = discount * gae_lambda
        raw += [sum(decay ** (k - t) * delta[k] for k in range(t, length)) for t in range(length)]
    expected = (np.array(raw) - np.mean(raw)) / np.std(raw)
    found = advantages(rewards, values, alive, discount, gae_lambda)
    np.testing.assert_allclose(found[alive.bool()], expected, rtol=1e-6)
    assert (found[~alive.bool()] == 0).all()


def test_standardised_by_hand():
    values = torch.tensor([[[1.0, 3.0, 100.0]], [[5.0, 5.0, 5.0]]])
    alive = torch.tensor([[[1.0, 1.0, 0.0]], [[1.0, 1.0, 1.0]]])
    torch.testing.assert_close(
        standardised(values, alive), torch.tensor([[[-1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]])
    )
