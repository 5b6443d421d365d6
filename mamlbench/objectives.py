"""What a task asks for: the loss that adapts a learner and the metrics that judge it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override


class Objective(ABC):
    """A loss and its metrics, over a batch of tasks.

    Losses are means over the M examples of a task (papers that sum are converted in the presets,
    and say so there).
    """

    metric: str
    """Name of the metric by which checkpoints are chosen and results are read."""
    higher_is_better: bool

    @abstractmethod
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Loss of each task: outputs [T, M, C] and targets [T, M] or [T, M, C] give [T]."""

    @abstractmethod
    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Metrics of each task, `loss` among them: outputs [T, P, M, C] give values of shape [T].

        The P predictions of each example are first averaged into one.
        """


class Classification(Objective):
    """Cross-entropy in nats, accuracy as a fraction; outputs are logits."""

    metric = "accuracy"
    higher_is_better = True

    @override
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        log_probabilities = F.log_softmax(outputs, dim=-1)
        return -log_probabilities.gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(dim=-1)

    @override
    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        mixture = F.log_softmax(outputs, dim=-1).logsumexp(dim=1) - math.log(outputs.shape[1])
        nll = -mixture.gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(dim=-1)
        accuracy = (mixture.argmax(dim=-1) == y).to(outputs.dtype).mean(dim=-1)
        return {"loss": nll, "accuracy": accuracy}


class Regression(Objective):
    """Mean squared error, in the targets' units squared."""

    metric = "mse"
    higher_is_better = False

    @override
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs - y).square().mean(dim=(-2, -1))

    @override
    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        mse = self.loss(outputs.mean(dim=1), y)
        return {"loss": mse, "mse": mse}
