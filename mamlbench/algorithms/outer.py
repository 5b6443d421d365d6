"""What an outer step needs: optimisers, schedules of their step size, losses of each task."""

from __future__ import annotations

import math
from abc import ABCMeta
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from mamlbench.errors import UserError, one_of, require
from mamlbench.rl.trust_region import TrustRegion

SCHEDULES = ("constant", "linear", "cosine", "exponential")
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, fused=True),
    "trpo": TrustRegion,
}


class StartedWhenBuilt(ABCMeta):
    """Calls an object's `start_optimizer` after its constructor, when all its parameters exist.

    A base class's constructor could not know those that a subclass makes after it.
    """

    def __call__(cls, *args: Any, **options: Any) -> Any:
        """The new object."""
        built = super().__call__(*args, **options)
        built.start_optimizer()
        return built


def started(
    parameters: list[nn.Parameter],
    optimizer: str,
    lr: float,
    lr_final: float,
    schedule: str,
    iterations: int | None,
    every: int,
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """A new outer optimiser and its schedule; see `MetaLearner` and `scheduled`."""
    made = OPTIMIZERS[optimizer](parameters, lr=lr)
    factor = scheduled(schedule, lr_final / lr if lr else 0.0, iterations or 1, every)
    return made, LambdaLR(made, factor)


def per_task(
    learner: type, tasks: int, losses: Tensor, metrics: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """What `meta_loss` returned; the losses are added as the metric `loss` if there is none.

    Raises:
        UserError: not one number for each task. The sum of such losses would be divided by the
            number of tasks all the same.
    """
    for name, values in {"losses": losses, **metrics}.items():
        shape = list(getattr(values, "shape", ()))
        if shape != [tasks]:
            where = f"algorithm: {learner.__name__}.meta_loss gives {name} of shape {shape}"
            raise UserError(f"{where}; accepted is [{tasks}], a number for each task")
    return losses, metrics if "loss" in metrics else metrics | {"loss": losses.detach()}


def require_schedule(outer_schedule: str, outer_lr_final: float, iterations: int | None) -> None:
    """Check these options of `MetaLearner`.

    Raises:
        BadValue: one of them is out of range, or the schedule's length or end is missing.
    """
    one_of("outer_schedule", outer_schedule, SCHEDULES)
    known = outer_lr_final >= 0 and math.isfinite(outer_lr_final)
    require(known, "outer_lr_final", outer_lr_final, "0 or more")
    ends = outer_schedule != "exponential" or outer_lr_final > 0
    accepted = "more than 0 if outer_schedule=exponential"
    require(ends, "outer_lr_final", outer_lr_final, accepted)
    known = outer_schedule == "constant" or iterations is not None
    accepted = f"a whole number, say ${{training.iterations}}, if outer_schedule={outer_schedule}"
    require(known, "iterations", "null", accepted)


def scheduled(name: str, final: float, iterations: int, every: int) -> Callable[[int], float]:
    """The factor on the outer step size, as a function of the outer steps taken so far.

    Args:
        name: one of `SCHEDULES`.
        final: the factor at the end.
        iterations: outer steps until the end.
        every: outer steps from one change to the next.
    """

    def factor(step: int) -> float:
        if name == "constant":
            return 1.0
        done = min(step // every * every / max(iterations, 1), 1.0)
        if name == "exponential":
            return float(final**done)
        left = 1.0 - done if name == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
        return final + (1.0 - final) * left

    return factor


def lay_out_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give gradients the memory layout of their parameters, which fused optimisers assume.

    Autograd ensures this; an algorithm that makes its own gradients may not.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
