"""Small problems and networks in float64, and parameters and gradients as single vectors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mamlbench.algorithms import MetaLearner
from mamlbench.datasets import Sinusoid
from mamlbench.networks import MLP, Conv4
from mamlbench.tasks import Examples, TaskBatch

F64 = torch.float64


def sinusoids(tasks: int, shots: int = 6, queries: int = 7, seed: int = 0) -> TaskBatch:
    batch = Sinusoid(shots, queries).sample("train", seed, 0, tasks)
    support, query = batch.support, batch.query
    return TaskBatch(
        Examples(support.x.double(), support.y.double(), support.seeds),
        Examples(query.x.double(), query.y.double()),
    )


def images(
    tasks: int, size: int = 8, ways: int = 3, shots: int = 2, queries: int = 3, seed: int = 0
) -> TaskBatch:
    generator = torch.Generator().manual_seed(seed)
    sides = []
    for count in (shots, queries):
        shape = tasks, ways * count, 1, size, size
        x = torch.rand(shape, generator=generator, dtype=F64)
        y = torch.stack(
            [torch.randperm(ways * count, generator=generator) % ways for _ in range(tasks)]
        )
        sides.append(Examples(x, y, np.arange(tasks) + 10))
    return TaskBatch(*sides)


def vary(network: nn.Module, seed: int = 1) -> nn.Module:
    """Move every parameter, in float64, because biases of 0 and scales of 1 hide errors."""
    generator = torch.Generator().manual_seed(seed)
    network.double()
    with torch.no_grad():
        for p in network.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=F64)
    return network


def mlp(**options: object) -> nn.Module:
    return vary(MLP((1,), 1, **{"hidden": (5, 4), "activation": "tanh", **options}))


def conv4(size: int = 8, **options: object) -> nn.Module:
    small = {"filters": 3, "blocks": 2, "activation": "tanh", "affine": "scale_shift"}
    return vary(Conv4((1, size, size), 3, **{**small, **options}))


def gradient(learner: MetaLearner, tasks: TaskBatch) -> Tensor:
    """The meta-gradient as one vector; 0 where a parameter has none."""
    learner.meta_gradient(tasks)
    return flat(p.grad if p.grad is not None else torch.zeros_like(p) for p in learner.parameters())


def parameters(learner: nn.Module) -> Tensor:
    return flat(p.detach().clone() for p in learner.parameters())


def flat(tensors) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def set_parameters(learner: nn.Module, vector: Tensor) -> None:
    nn.utils.vector_to_parameters(vector, learner.parameters())


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm())
