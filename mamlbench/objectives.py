"""What a task asks for: the loss that adapts a learner and the metrics that judge it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from mamlbench.errors import require

CALIBRATION_BINS = 15
"""Bins of equal width for the confidence, as Guo et al. have them (arXiv 1706.04599, section 5)."""


class Objective(ABC):
    """A loss and its metrics, over a batch of tasks.

    Losses are means over the M examples of a task (papers that sum are converted in the presets,
    and say so there). The P predictions of each example are one prediction: of classes the mixture
    of their probabilities, of real values the mean. A metric called `..._of_particles` is instead
    that of each particle by itself, averaged over them.
    """

    metric: str
    """Name of the metric by which checkpoints are chosen and results are read."""
    higher_is_better: bool
    uncertainty_in_words: str = "uncertainty"
    """What `uncertainty` measures."""

    @abstractmethod
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Loss of each task: outputs [T, M, C] and targets [T, M] or [T, M, C] give [T]."""

    @abstractmethod
    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Metrics of each task, `loss` among them: outputs [T, P, M, C] give values of shape [T].

        Training logs them at each outer step, so they cost little.
        """

    def scores(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        """All that a meta-test reports of each task, `metrics` among it; same shapes."""
        return self.metrics(outputs, y)

    def calibration(self, outputs: Tensor, y: Tensor) -> Tensor | None:
        """What a reliability diagram takes, [T, `CALIBRATION_BINS`, 3]; None without confidences.

        The last dimension is: how many examples fall into the bin, the sum of their confidences,
        and how many of them are right.
        """
        del outputs, y
        return None

    def uncertainty(self, outputs: Tensor) -> Tensor | None:
        """How unsure the predictions [T, P, M, C] of each example are, [T, M].

        None where these predictions cannot tell, as a single one of real values.
        """
        del outputs
        return None


class Classification(Objective):
    """Cross-entropy in nats, accuracy as a fraction; outputs are logits.

    Scores besides: `nll`, of the mixture in nats, which is the `loss`; `brier`, the squared
    distance of the probabilities from the one-hot label, summed over classes, from 0 to 2 (Brier
    1950); `accuracy_of_particles` where P > 1.
    """

    metric = "accuracy"
    higher_is_better = True
    uncertainty_in_words = "entropy of the prediction"

    @override
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return _negative_log_likelihood(F.log_softmax(outputs, dim=-1), y)

    @override
    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        mixture = _mixture(outputs)
        return {"loss": _negative_log_likelihood(mixture, y), "accuracy": _accuracy(mixture, y)}

    @override
    def scores(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        mixture = _mixture(outputs)
        nll = _negative_log_likelihood(mixture, y)
        label = F.one_hot(y, mixture.shape[-1])
        brier = (mixture.exp() - label).square().sum(dim=-1).mean(dim=-1)
        found = {"loss": nll, "accuracy": _accuracy(mixture, y), "nll": nll, "brier": brier}
        if outputs.shape[1] > 1:
            found["accuracy_of_particles"] = _accuracy(outputs, y.unsqueeze(1)).mean(dim=1)
        return found

    @override
    def calibration(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Bin b of B has the confidences in (b/B, (b+1)/B]; a NaN is in the first."""
        confidence, guess = _mixture(outputs).exp().max(dim=-1)
        bins = (confidence.nan_to_num() * CALIBRATION_BINS).ceil().long() - 1
        place = bins.clamp(0, CALIBRATION_BINS - 1).unsqueeze(-1).expand(*y.shape, 3)
        right = (guess == y).to(confidence)
        values = torch.stack([torch.ones_like(confidence), confidence, right], dim=-1)
        return values.new_zeros(len(y), CALIBRATION_BINS, 3).scatter_add_(1, place, values)

    @override
    def uncertainty(self, outputs: Tensor) -> Tensor:
        """Entropy of the mixture, in nats."""
        mixture = _mixture(outputs)
        return -(mixture.exp() * mixture).sum(dim=-1)


class Regression(Objective):
    """Mean squared error, in the targets' units squared.

    Scores besides: `mse_of_particles` where P > 1, never below `mse` (Jensen); and `nll` where
    there is a likelihood, in nats an example: that of the equal mixture of the P predictions, each
    with normal noise.

    Args:
        likelihood_std: standard deviation of that noise, in the targets' units (None: no `nll`).

    Raises:
        BadValue: a deviation that is not positive.
    """

    metric = "mse"
    higher_is_better = False
    uncertainty_in_words = "variance of the predictions"

    def __init__(self, likelihood_std: float | None = None) -> None:
        positive = likelihood_std is None or 0 < likelihood_std < math.inf
        require(positive, "likelihood_std", likelihood_std, "more than 0, or null")
        self.likelihood_std = likelihood_std

    @override
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs - y).square().mean(dim=(-2, -1))

    @override
    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        single = outputs.shape[1] == 1
        mse = self.loss(outputs.squeeze(1) if single else outputs.mean(dim=1), y)
        return {"loss": mse, "mse": mse}

    @override
    def scores(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        found = self.metrics(outputs, y)
        if outputs.shape[1] > 1:
            found["mse_of_particles"] = self.loss(outputs, y.unsqueeze(1)).mean(dim=1)
        if self.likelihood_std is not None:
            found["nll"] = self._mixture_nll(outputs, y, self.likelihood_std)
        return found

    @staticmethod
    def _mixture_nll(outputs: Tensor, y: Tensor, std: float) -> Tensor:
        particles, values = outputs.shape[1], outputs.shape[-1]
        exponent = -0.5 * ((outputs - y.unsqueeze(1)) / std).square().sum(dim=-1)
        constant = math.log(particles) + values * math.log(std * math.sqrt(2 * math.pi))
        return constant - exponent.logsumexp(dim=1).mean(dim=-1)

    @override
    def uncertainty(self, outputs: Tensor) -> Tensor | None:
        """Variance over the particles, summed over the C outputs; None for a single particle."""
        if outputs.shape[1] == 1:
            return None
        return outputs.var(dim=1, correction=0).sum(dim=-1)


def _mixture(outputs: Tensor) -> Tensor:
    """Log-probabilities [T, M, C] of the equal mixture of P predictions, logits [T, P, M, C]."""
    each = F.log_softmax(outputs, dim=-1)
    if each.shape[1] == 1:
        return each.squeeze(1)
    return each.logsumexp(dim=1) - math.log(each.shape[1])


def _negative_log_likelihood(log_probabilities: Tensor, y: Tensor) -> Tensor:
    return -log_probabilities.gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(dim=-1)


def _accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs.argmax(dim=-1) == y).to(outputs.dtype).mean(dim=-1)
