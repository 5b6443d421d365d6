"""The objective of a task: the loss that adapts a learner and the metrics that evaluate it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from mamlbench.errors import UserError, require

CALIBRATION_BINS = 15
"""Equal-width bins of the confidence, as many as Guo et al. (arXiv 1706.04599, section 5)."""


class Objective(ABC):
    """A loss and its metrics, over a batch of tasks.

    Losses are means over the M examples of a task (for papers that sum, the presets convert the
    values and say so). The P predictions of each example are combined into one: the mixture of
    their probabilities for classes, the mean for real values. A metric called `..._of_particles` is
    instead computed for each particle separately and averaged over the particles.
    """

    metric: str
    """Name of the metric that selects checkpoints and is reported as the result."""
    higher_is_better: bool
    uncertainty_in_words: str = "uncertainty"
    """What `uncertainty` measures, in words."""

    @abstractmethod
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Loss of each task: outputs [T, M, C] and targets [T, M] or [T, M, C] give [T].

        Raises:
            UserError: outputs that do not fit the targets, which might be broadcast.
        """

    @abstractmethod
    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Metrics of each task, including `loss`: outputs [T, P, M, C] give values of shape [T].

        Training logs them at each outer step, so they must be cheap.
        """

    def scores(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        """All scores that a meta-test reports of each task, including `metrics`; same shapes."""
        return self.metrics(outputs, y)

    def calibration(self, outputs: Tensor, y: Tensor) -> Tensor | None:
        """Data of a reliability diagram, [T, `CALIBRATION_BINS`, 3]; None without confidences.

        The last dimension is: the number of examples in the bin, the sum of their confidences, and
        the number of correct ones.
        """
        del outputs, y
        return None

    def uncertainty(self, outputs: Tensor) -> Tensor | None:
        """How uncertain the predictions [T, P, M, C] of each example are, [T, M].

        None if these predictions cannot say, such as a single prediction of real values.
        """
        del outputs
        return None


class Classification(Objective):
    """Cross-entropy in nats, accuracy as a fraction; outputs are logits.

    Further scores: `nll`, the mixture's in nats, which equals `loss`; `brier`, the squared distance
    of the probabilities from the one-hot label, summed over classes, from 0 to 2 (Brier 1950); and
    `accuracy_of_particles` if P > 1.
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
        """Bin b of B has the confidences in (b/B, (b+1)/B]; NaN goes into the first bin."""
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
    """Mean squared error, in squared units of the targets.

    Further scores: `mse_of_particles` if P > 1, never below `mse` (Jensen); and `nll` in nats per
    example if there is a likelihood: the equal mixture of the P predictions, each with normal
    noise.

    Args:
        likelihood_std: standard deviation of that noise, in units of the targets (None: no `nll`).

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
        # tasks may be broadcast, as if P predictions share their targets
        fits = outputs.shape[-2:] == y.shape[-2:] and outputs.ndim == y.ndim
        _require_fit(fits, outputs, y, "[..., examples, outputs] for both")
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


def _require_fit(fits: bool, outputs: Tensor, y: Tensor, accepted: str) -> None:
    if not fits:
        shapes = f"outputs {[*outputs.shape]} for targets {[*y.shape]}"
        raise UserError(f"{shapes}; accepted is {accepted}")


def _negative_log_likelihood(log_probabilities: Tensor, y: Tensor) -> Tensor:
    fits = log_probabilities.shape[:-1] == y.shape
    accepted = "[tasks, examples, classes] for [tasks, examples]"
    _require_fit(fits, log_probabilities, y, accepted)
    return -log_probabilities.gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(dim=-1)


def _accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs.argmax(dim=-1) == y).to(outputs.dtype).mean(dim=-1)
