"""Whether results equal a function's outputs up to rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Function = Callable[..., Sequence[Tensor]]

ROUNDING, SHORTER_ROUNDING = 1e-3, 3e-2
"""Allowed error as a fraction of a result's largest value: for float32 summed in another order over
some inner steps, and for products in a shorter type."""

_NOISE = 1e-6
"""The same as a fraction of the largest value of all results, because some results are nothing but
rounding, such as the gradient of a bias from which a mean is subtracted."""

_NUDGES, _LAST_DIGITS, _MOVES = 3, 8, 3
"""How often inputs are nudged, by how many units in the last place, and how far apart results may
be as a multiple of how far nudges move them. On 5-way 5-shot Omniglot, where a picture's white
pixels reach a ReLU's kink together, float32 was 2 to 34 times as far from float64 as `ROUNDING`
allows, and a third as far as this allows."""


def is_rounding(
    function: Function,
    inputs: Sequence[Tensor],
    expected: Sequence[Tensor],
    found: Sequence[Tensor],
    relative: float = ROUNDING,
) -> bool:
    """Whether `found` are the function's outputs, computed in another order.

    Args:
        function: tensors in, tensors out; it is run again if the results are far apart.
        inputs: of the function.
        expected: the function's outputs.
        found: the outputs to compare with them.
        relative: allowed rounding error, as a fraction of each result's largest value.
    """
    if len(expected) != len(found):
        return False
    distances = _distances(expected, found)
    largest = max(float(x.abs().max()) for x in expected)
    allowed = [relative * float(x.abs().max()) + _NOISE * largest for x in expected]
    if all(a <= b for a, b in zip(distances, allowed, strict=True)):
        return True
    moved = _moved(function, inputs, expected)
    allowed = [max(a, _MOVES * b) for a, b in zip(allowed, moved, strict=True)]
    return all(a <= b for a, b in zip(distances, allowed, strict=True))


def _moved(function: Function, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[float]:
    """How far each output moves, at most, when the last digits of inputs change."""
    random = torch.Generator(inputs[0].device).manual_seed(0)  # not the one that runs draw from
    tries = [
        _distances(outputs, function(*(_nudged(x, random) for x in inputs))) for _ in range(_NUDGES)
    ]
    return [max(distances) for distances in zip(*tries, strict=True)]


def _nudged(x: Tensor, random: torch.Generator) -> Tensor:
    if not x.is_floating_point():
        return x
    signs = torch.randint(-1, 2, x.shape, generator=random, device=x.device)
    return x * (1 + _LAST_DIGITS * torch.finfo(x.dtype).eps * signs.to(x.dtype))


def _distances(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[float]:
    return [float((a - b).abs().max()) for a, b in zip(first, second, strict=True)]
