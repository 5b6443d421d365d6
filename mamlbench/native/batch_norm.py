"""The normalisation of batch_norm.cpp and its derivatives.

Batches are [B, M, H, W, C], or [B, 1, R, 1, C] without max-pooling; scales and shifts are both [C]
or both [B, 1, C]. `then` says whether a ReLU follows, whether 2x2 max-pooling follows, and whether
pooling keeps an odd last row or column.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mamlbench.native.operations import define, run

_Three = tuple[Tensor, Tensor, Tensor]


def _outputs(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, then: list[int]
) -> _Three:
    """Room for outputs, and for means and inverse standard deviations, [B, 1, C]."""
    return x.new_empty(_out(x, then)), _per_channel(x), _per_channel(x)


def _batch_norm(
    results: _Three,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    then: list[int],
) -> None:
    weight, bias, step = _parameters(weight, bias, len(x))
    tensors = [x.contiguous(), weight, bias, *results]
    run("batch_norm", tensors, [step, float(eps)], [*x.shape, *then])


def _gradients(g: Tensor, x: Tensor, *rest: Any) -> _Three:
    """Room for the gradients of x, and of scale and shift in each batch, [B, 1, C]."""
    return x.new_empty(x.shape), _per_channel(x), _per_channel(x)


def _backward(results: _Three, *given: Any) -> None:
    *batch, then = given
    tensors, step = _of_batch(*batch)
    run("batch_norm_backward", [*tensors, *results], [step], [*batch[1].shape, *then])


def _second_gradients(g: Tensor, x: Tensor, *rest: Any) -> _Three:
    """Room for the gradients of g, x and scale, given those of `_gradients`' results, v."""
    return g.new_empty(g.shape), x.new_empty(x.shape), _per_channel(x)


def _second(results: _Three, *given: Any) -> None:
    *batch, v, then = given
    tensors, step = _of_batch(*batch)
    tensors = [*tensors, *(each.contiguous() for each in v), *results]
    run("batch_norm_second", tensors, [step], [*batch[1].shape, *then])


def _of_batch(
    g: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    inverse: Tensor,
) -> tuple[list[Tensor | None], int]:
    """All tensors as the kernels take them, and the parameters' step between batches."""
    weight, bias, step = _parameters(weight, bias, len(x))
    return [g.contiguous(), x.contiguous(), weight, bias, mean, inverse], step


def _out(x: Tensor, then: list[int]) -> list[int]:
    batches, images, height, width, channels = x.shape
    _, pool, keep_odd = then
    if pool:
        height, width = ((side + keep_odd) // 2 for side in (height, width))
    return [batches, images, height, width, channels]


def _per_channel(x: Tensor) -> Tensor:
    return x.new_empty(len(x), 1, x.shape[-1])


def _parameters(
    weight: Tensor | None, bias: Tensor | None, batches: int
) -> tuple[Tensor | None, Tensor | None, int]:
    """Both made contiguous, and their step from one batch to the next, 0 if shared."""
    given = [p for p in (weight, bias) if p is not None]
    own = any(p.dim() > 1 for p in given)
    weight, bias = (
        None if p is None else (p.expand(batches, 1, -1) if own else p).contiguous()
        for p in (weight, bias)
    )
    return weight, bias, given[0].shape[-1] if own else 0


_PARAMETERS = "Tensor? weight, Tensor? bias"
_OF_BATCH = f"Tensor g, Tensor x, {_PARAMETERS}, Tensor mean, Tensor inverse"
_RESULTS = "(Tensor, Tensor, Tensor)"
define(
    f"batch_norm(Tensor x, {_PARAMETERS}, float eps, int[] then) -> {_RESULTS}",
    _outputs,
    _batch_norm,
)
define(f"batch_norm_backward({_OF_BATCH}, int[] then) -> {_RESULTS}", _gradients, _backward)
define(
    f"batch_norm_second({_OF_BATCH}, Tensor[] v, int[] then) -> {_RESULTS}",
    _second_gradients,
    _second,
)
