"""Losses and metrics against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mamlbench.errors import BadValue, UserError
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
    """Probabilities 0.9 and 0.3 of the right class give a mixture of 0.6."""
    probabilities = torch.tensor([[[[0.9, 0.1]], [[0.3, 0.7]]]], dtype=torch.float64)
    metrics = Classification().metrics(probabilities.log(), torch.tensor([[0]]))
    assert metrics["loss"].item() == pytest.approx(-math.log(0.6))
    assert metrics["accuracy"].item() == 1.0


def test_squared_error_by_hand():
    outputs = torch.tensor([[[1.0], [2.0]], [[0.0], [0.0]]])
    y = torch.tensor([[[0.0], [4.0]], [[1.0], [1.0]]])
    assert Regression().loss(outputs, y).tolist() == [2.5, 1.0]


def test_particles_are_averaged_before_the_error():
    outputs = torch.tensor([[[[1.0]], [[3.0]]]])  # the mean is right
    metrics = Regression().metrics(outputs, torch.tensor([[[2.0]]]))
    assert metrics["mse"].tolist() == metrics["loss"].tolist() == [0.0]


def test_which_way_is_better():
    assert (Classification.metric, Classification.higher_is_better) == ("accuracy", True)
    assert (Regression.metric, Regression.higher_is_better) == ("mse", False)


def test_scores_of_classes_by_hand():
    """Two particles, two examples; the mixtures are (0.6, 0.4, 0) and (0.5, 0.4, 0.1)."""
    p = torch.tensor([[[0.9, 0.1, 0.0], [0.7, 0.2, 0.1]], [[0.3, 0.7, 0.0], [0.3, 0.6, 0.1]]])
    y = torch.tensor([[0, 1]])
    scores = Classification().scores(p.double().log().unsqueeze(0), y)
    assert scores["nll"].item() == pytest.approx(-(math.log(0.6) + math.log(0.4)) / 2)
    assert torch.equal(scores["nll"], scores["loss"])
    # (0.6, 0.4, 0) against class 0, and (0.5, 0.4, 0.1) against class 1
    first, second = 0.4**2 + 0.4**2, 0.5**2 + 0.6**2 + 0.1**2
    assert scores["brier"].item() == pytest.approx((first + second) / 2)
    assert scores["accuracy"].item() == 0.5  # the mixture says 0 and 0
    assert scores["accuracy_of_particles"].item() == 0.5  # the particles: 0 and 0, 1 and 1


def test_one_particle_is_the_prediction():
    outputs, y = torch.randn(2, 1, 4, 3), torch.zeros(2, 4, dtype=torch.int64)
    assert Classification().scores(outputs, y).keys() == {"loss", "accuracy", "nll", "brier"}
    assert Regression().scores(outputs, outputs[:, 0]).keys() == {"loss", "mse"}


def test_brier_is_zero_when_sure_and_right_and_two_when_sure_and_wrong():
    outputs = torch.tensor([[[[100.0, 0.0], [100.0, 0.0]]]])
    brier = [Classification().scores(outputs, torch.full((1, 2), c))["brier"] for c in (0, 1)]
    assert brier[0].item() == pytest.approx(0.0, abs=1e-6)
    assert brier[1].item() == pytest.approx(2.0)


def test_confidences_fall_into_bins_closed_above():
    """Of 15 bins, the fifth is (4/15, 5/15] and the last (14/15, 1]."""
    p = torch.tensor([1.0, 0.6, 0.6000001, 0.5, 0.99], dtype=torch.float64)
    outputs = torch.stack([p, 1 - p], dim=-1).log().reshape(1, 1, 5, 2)
    bins = Classification().calibration(outputs, torch.tensor([[0, 1, 0, 0, 1]]))
    assert bins.shape == (1, 15, 3)
    expected = torch.zeros(15, 3, dtype=torch.float64)
    expected[14] = torch.tensor([2.0, 1.99, 1.0])  # 1 is right, 0.99 is wrong
    expected[8] = torch.tensor([1.0, 0.6, 0.0])  # (8/15, 9/15]: 0.6 itself, wrong
    expected[9] = torch.tensor([1.0, 0.6000001, 1.0])
    expected[7] = torch.tensor([1.0, 0.5, 1.0])  # (7/15, 8/15]
    torch.testing.assert_close(bins[0], expected)


def test_calibration_is_the_mixtures():
    """Two confident particles that disagree make one uncertain prediction."""
    outputs = torch.tensor([[[[50.0, 0.0]], [[0.0, 50.0]]]])
    bins = Classification().calibration(outputs, torch.tensor([[0]]))
    assert bins[0, :, 0].nonzero().tolist() == [[7]]
    assert bins[0, 7, 1].item() == pytest.approx(0.5)


def test_a_prediction_that_is_not_finite_is_in_the_first_bin():
    outputs = torch.tensor([[[[float("nan"), 0.0], [0.0, 9.0]]]])
    bins = Classification().calibration(outputs, torch.tensor([[0, 1]]))[0]
    assert bins[0, 0] == 1.0
    assert bins[0, 1].isnan()
    assert bins[1:].isfinite().all()
    assert bins[14, 0] == 1.0


def test_scores_of_functions_by_hand():
    """Predictions 0 and 2 for a target 1.5, 1 and 1 for a target 1; likelihood deviation 0.5."""
    outputs = torch.tensor([[[[0.0], [1.0]], [[2.0], [1.0]]]], dtype=torch.float64)
    y = torch.tensor([[[1.5], [1.0]]], dtype=torch.float64)
    scores = Regression(likelihood_std=0.5).scores(outputs, y)
    assert scores["mse"].item() == pytest.approx(0.25 / 2)
    assert scores["mse_of_particles"].item() == pytest.approx((2.25 + 0.25) / 2 / 2)

    def density(distance):
        return math.exp(-(distance**2) / (2 * 0.25)) / math.sqrt(2 * math.pi * 0.25)

    likelihoods = (density(1.5) + density(0.5)) / 2, density(0.0)
    assert scores["nll"].item() == pytest.approx(-sum(map(math.log, likelihoods)) / 2)


def test_likelihood_of_several_outputs_is_torchs():
    """A mixture of particles, each a normal distribution over all outputs of an example."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 4, 5, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    parts = torch.distributions.Independent(
        torch.distributions.Normal(outputs.transpose(1, 2), 0.7), 1
    )
    equal = torch.distributions.Categorical(torch.ones(2, 5, 4, dtype=torch.float64))
    mixture = torch.distributions.MixtureSameFamily(equal, parts)
    expected = -mixture.log_prob(y).mean(dim=-1)
    torch.testing.assert_close(Regression(0.7).scores(outputs, y)["nll"], expected)


@pytest.mark.parametrize("std", [0.0, -1.0, math.inf, math.nan])
def test_a_likelihood_needs_a_positive_deviation(std):
    with pytest.raises(BadValue, match=r"likelihood_std=.*: accepted is more than 0, or null"):
        Regression(likelihood_std=std)


def test_uncertainty_by_hand():
    values = torch.tensor([[[[1.0, 0.0]], [[3.0, 0.0]], [[5.0, 3.0]]]])  # variances 8/3 and 2
    assert Regression().uncertainty(values).item() == pytest.approx(8 / 3 + 2)
    assert Regression().uncertainty(values[:, :1]) is None
    p = torch.tensor([[[[0.9, 0.1], [0.5, 0.5]], [[0.3, 0.7], [0.5, 0.5]]]]).double()
    entropy = Classification().uncertainty(p.log())
    assert entropy.tolist() == [
        [pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.4)), pytest.approx(math.log(2))]
    ]


@pytest.mark.parametrize(
    ("outputs", "y"),
    [
        ((3, 4, 1), (3, 4, 2)),
        ((3, 4, 2), (3, 4, 1)),
        ((4, 4, 1), (4, 4)),
        ((3, 4), (3, 4, 1)),
        ((3, 1, 1), (3, 4, 1)),
    ],
)
def test_squared_error_broadcasts_no_targets(outputs, y):
    with pytest.raises(
        UserError, match=r"^outputs \[.*\] for targets \[.*\]; accepted is \[\.\.\."
    ):
        Regression().loss(torch.zeros(outputs), torch.zeros(y))


@pytest.mark.parametrize("y", [(3, 2), (1, 4), (3, 4, 1)])
def test_cross_entropy_takes_a_label_for_each_example(y):
    """`gather` alone would leave out the examples without a label."""
    with pytest.raises(
        UserError, match=r"^outputs \[3, 4, 5\] for targets .*; accepted is \[tasks"
    ):
        Classification().loss(torch.zeros(3, 4, 5), torch.zeros(y, dtype=torch.int64))
