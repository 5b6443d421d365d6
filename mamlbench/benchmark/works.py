"""The benchmark cases: each has a network, a batch of tasks and the outer step to time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mamlbench.algorithms import MAML, Reptile
from mamlbench.algorithms.base import MetaLearner
from mamlbench.hardware.device import Hardware
from mamlbench.networks import MLP, Conv4
from mamlbench.objectives import Classification, Objective, Regression
from mamlbench.tasks import Examples, TaskBatch

ADAM_BATCH = 10  # examples in one of Reptile's inner steps


@dataclass(frozen=True)
class Work:
    """One outer step of one algorithm.

    Attributes:
        title: a description in one line.
        image: channels and side of an image; None: sinusoids and an MLP of 1-40-40-1.
        ways: N (1 for sinusoids).
        shots: support examples per class.
        queries: query examples per class.
        tasks: T.
        steps: inner steps.
        filters: channels of the convolutions.
        down: how a block of the network halves its input.
        spatial_mean: see `Conv4`.
        first_order: whether the inner gradients are constants.
        reptile: whether it is Reptile, with inner Adam on mini-batches of 10.
        inner_lr: inner step size.
    """

    title: str
    image: tuple[int, int] | None
    ways: int
    shots: int
    queries: int
    tasks: int
    steps: int
    filters: int = 64
    down: str = "stride"
    spatial_mean: bool = True
    first_order: bool = False
    reptile: bool = False
    inner_lr: float = 0.4

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (1,) if self.image is None else (self.image[0], self.image[1], self.image[1])

    @property
    def sides(self) -> tuple[int, int]:
        """Support and query examples of one task."""
        return self.ways * self.shots, self.ways * self.queries

    @property
    def values(self) -> int:
        """Input values of the whole batch."""
        return self.tasks * sum(self.sides) * math.prod(self.input_shape)

    def network(self) -> MLP | Conv4:
        """The network, with the same parameters at each call."""
        torch.manual_seed(0)
        if self.image is None:
            return MLP(self.input_shape, 1)
        affine = "scale_shift"
        return Conv4(
            self.input_shape,
            self.ways,
            filters=self.filters,
            down=self.down,
            spatial_mean=self.spatial_mean,
            affine=affine,
        )

    def objective(self) -> Objective:
        """Cross-entropy, or squared error for sinusoids."""
        return Regression() if self.image is None else Classification()

    def batch(self, hardware: Hardware) -> TaskBatch:
        """The tasks: random inputs, the same at each call."""
        generator = torch.Generator().manual_seed(1)
        support, query = (
            self._side(count, generator, hardware.torch_device)
            for count in (self.shots, self.queries)
        )
        return hardware.cast(TaskBatch(support, query))

    def _side(self, per_class: int, generator: torch.Generator, device: torch.device) -> Examples:
        count = self.ways * per_class
        x = torch.rand(self.tasks, count, *self.input_shape, generator=generator)
        if self.image is None:
            return Examples((10.0 * x - 5.0).to(device), torch.sin(10.0 * x).to(device))
        y = torch.arange(self.ways).repeat_interleave(per_class)
        order = torch.rand(self.tasks, count, generator=generator).argsort(1)
        return Examples(x.to(device), y[order].to(device), np.arange(self.tasks))

    def learner(self, hardware: Hardware) -> MetaLearner:
        """Our learner, as the runner builds it."""
        options: dict[str, Any] = {
            "inner_lr": self.inner_lr,
            "inner_steps": self.steps,
            "adapt_norm": True,
        }
        network, objective = self.network(), self.objective()
        learner: MetaLearner
        if self.reptile:
            # moments are not carried over, so that the order of the tasks does not matter
            options |= {"inner_batch": ADAM_BATCH, "moments": "fresh"}
            options |= {"outer_optimizer": "sgd", "outer_lr": 1.0}
            learner = Reptile(network, objective, **options)
        else:
            learner = MAML(network, objective, first_order=self.first_order, **options)
        hardware.prepare(learner, *self.sides, self.input_shape)
        return learner


_OMNIGLOT = Work(
    title="Omniglot, 5-way 1-shot, 32 tasks, 1 query a class, 1 step",
    image=(1, 28),
    ways=5,
    shots=1,
    queries=1,
    tasks=32,
    steps=1,
)

WORKS = {
    "sinusoid": Work(
        title="sinusoid, 25 tasks, 10-shot, 1 step",
        image=None,
        ways=1,
        shots=10,
        queries=10,
        tasks=25,
        steps=1,
        inner_lr=0.01,
    ),
    "omniglot": _OMNIGLOT,
    "omniglot_15": replace(
        _OMNIGLOT,
        title="Omniglot, 5-way 1-shot, 32 tasks, 15 queries a class, 1 step",
        queries=15,
    ),
    "omniglot_15_first_order": replace(
        _OMNIGLOT,
        title="the same, first order",
        queries=15,
        first_order=True,
    ),
    "omniglot_20way": replace(
        _OMNIGLOT,
        title="Omniglot, 20-way 1-shot, 16 tasks, 1 query a class, 5 steps",
        ways=20,
        tasks=16,
        steps=5,
        inner_lr=0.1,
    ),
    "mini_imagenet": Work(
        title="mini-ImageNet, 5-way 1-shot, 4 tasks, 15 queries a class, 5 steps",
        image=(3, 84),
        ways=5,
        shots=1,
        queries=15,
        tasks=4,
        steps=5,
        filters=32,
        down="pool",
        spatial_mean=False,
        inner_lr=0.01,
    ),
    "reptile": Work(
        title="Reptile, Omniglot 5-way, 5 tasks, 5 inner Adam steps on 10 of 50 images",
        image=(1, 28),
        ways=5,
        shots=10,
        queries=0,
        tasks=5,
        steps=5,
        spatial_mean=False,
        reptile=True,
        inner_lr=0.001,
    ),
}
