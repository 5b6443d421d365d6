"""Losses and metrics against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mamlbench.objectives import Classification, Regression


def test_cross_entropy_is_a_mean_over_each_tasks_examples():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(5, (3, 4), generator=generator)
    expected = torch.stack([F.cross_entropy(outputs[t], y[t]) for t in range(3)])
    torch.testing.assert_close(Classification().loss(outputs, y), expected)


def test_accuracy_by_hand():
    outputs = torch.tensor([[[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]]).unsqueeze(1)
    y = torch.tensor([[0, 0, 0]])
    metrics = Classification().metrics(outputs, y)
    assert metrics["accuracy"].tolist() == [pytest.approx(2 / 3)]
    torch.testing.assert_close(metrics["loss"], Classification().loss(outputs[:, 0], y))


def test_particles_are_mixed_as_probabilities():
    """Probabilities 0.9 and 0.3 of the right class: the mixture's is 0.6."""
    probabilities = torch.tensor([[[[0.9, 0.1]], [[0.3, 0.7]]]], dtype=torch.float64)
    metrics = Classification().metrics(probabilities.log(), torch.tensor([[0]]))
    assert metrics["loss"].item() == pytest.approx(-math.log(0.6))
    assert metrics["accuracy"].item() == 1.0


def test_squared_error_by_hand():
    outputs = torch.tensor([[[1.0], [2.0]], [[0.0], [0.0]]])
    y = torch.tensor([[[0.0], [4.0]], [[1.0], [1.0]]])
    assert Regression().loss(outputs, y).tolist() == [2.5, 1.0]


def test_particles_are_averaged_before_the_error():
    outputs = torch.tensor([[[[1.0]], [[3.0]]]])  # their mean is right
    metrics = Regression().metrics(outputs, torch.tensor([[[2.0]]]))
    assert metrics["mse"].tolist() == metrics["loss"].tolist() == [0.0]


def test_which_way_is_better():
    assert (Classification.metric, Classification.higher_is_better) == ("accuracy", True)
    assert (Regression.metric, Regression.higher_is_better) == ("mse", False)
