"""What learners share that draw several parameters for each task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from mamlbench.algorithms.adapted import Support
from mamlbench.algorithms.base import for_particles
from mamlbench.errors import UserError
from mamlbench.networks.base import Params
from mamlbench.objectives import Objective
from mamlbench.tasks import Examples


def fixed(support: Support) -> Examples:
    """The support set itself.

    Raises:
        UserError: it is gathered anew at each step, for which sampling has no definition here.
    """
    if isinstance(support, Examples):
        return support
    raise UserError("algorithm: this one samples parameters, and takes fixed support sets only")


def repeated(examples: Examples, particles: int) -> Examples:
    """The examples of T tasks once for each of a task's P particles, [T*P, M, ...]."""
    x, y = (for_particles(values, particles) for values in (examples.x, examples.y))
    return replace(examples, x=x, y=y, seeds=None)


def as_vectors(values: Params, names: Iterable[str]) -> Tensor:
    """Those of the values [T, ...] that are named, in this order, as vectors [T, D]."""
    return torch.cat([values[name].reshape(len(values[name]), -1) for name in names], dim=1)


def as_params(vectors: Tensor, params: Params, names: Iterable[str]) -> Params:
    """`params`, the named ones [T, ...] of them replaced by the parts of vectors [B, D]."""
    names = list(names)
    parts = vectors.split([params[name][0].numel() for name in names], dim=1)
    shapes = [params[name].shape[1:] for name in names]
    values = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
    return params | dict(zip(names, values, strict=True))


def expected_loss(objective: Objective, outputs: Tensor, y: Tensor) -> Tensor:
    """Mean over the particles of each one's own loss: outputs [T, P, M, C] give [T].

    Not the loss of the mean prediction, which is what `Objective.metrics` has.
    """
    particles = outputs.shape[1]
    losses = objective.loss(outputs.flatten(0, 1), for_particles(y, particles))
    return losses.unflatten(0, (-1, particles)).mean(1)
