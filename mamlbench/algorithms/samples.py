"""Functions shared by learners that draw several sets of parameters for each task."""

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
    """The support set itself, if it is fixed.

    Raises:
        UserError: it is gathered anew at each step, for which sampling is not defined here.
    """
    if isinstance(support, Examples):
        return support
    raise UserError("algorithm: this one samples parameters and needs a fixed support set")


def repeated(examples: Examples, particles: int) -> Examples:
    """Repeat the examples of T tasks for each of a task's P particles, [T*P, M, ...]."""
    x, y = (for_particles(values, particles) for values in (examples.x, examples.y))
    return replace(examples, x=x, y=y, seeds=None)


def as_vectors(values: Params, names: Iterable[str]) -> Tensor:
    """The named values [T, ...], in this order, concatenated into vectors [T, D]."""
    return torch.cat([values[name].reshape(len(values[name]), -1) for name in names], dim=1)


def as_params(vectors: Tensor, params: Params, names: Iterable[str]) -> Params:
    """`params` with the named ones [T, ...] replaced by the parts of vectors [B, D]."""
    names = list(names)
    parts = vectors.split([params[name][0].numel() for name in names], dim=1)
    shapes = [params[name].shape[1:] for name in names]
    values = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
    return params | dict(zip(names, values, strict=True))


def expected_loss(objective: Objective, outputs: Tensor, y: Tensor) -> Tensor:
    """Mean of the particles' own losses: outputs [T, P, M, C] give [T].

    `Objective.metrics` instead has the loss of their combined prediction.
    """
    particles = outputs.shape[1]
    losses = objective.loss(outputs.flatten(0, 1), for_particles(y, particles))
    return losses.unflatten(0, (-1, particles)).mean(1)
