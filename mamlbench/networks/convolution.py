"""Convolution of many tasks' images, each task with its own kernel.

Three operations, each linear in both arguments: images and kernels give maps (`convolve`), maps and
kernels give images (`_Spread`), images and maps give kernels (`_Correlate`). The derivatives of
each are the other two, so these three suffice for all orders of differentiation. On a CPU, kernels
of `mamlbench.native` compute them. Otherwise each is a batched product with the images' patches:
all images' at once on a GPU, those of a few images at a time on a CPU without native kernels.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from mamlbench.native import available, on_cpu
from mamlbench.networks import patches_at_once, patches_in_tiles
from mamlbench.networks.grid import Grid


def convolve(x: Tensor, weight: Tensor, bias: Tensor, grid: Grid) -> Tensor:
    """Images [T, M, H, W, C] to maps [T, M, h, w, O], with zero padding.

    Args:
        x: the images.
        weight: [T, O, k, k, C].
        bias: [T, O].
        grid: positions of the patches.
    """
    y: Tensor = _Convolve.apply(x, weight, bias, grid)
    return y


class _Convolve(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, grid: Grid) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.grid = grid
        return _convolved(x, weight, bias, grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = gradients
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        grad_x = _Spread.apply(y, weight, ctx.grid) if of_x else None
        grad_weight = grad_bias = None
        if of_weight or of_bias:
            grad_weight, grad_bias = _Correlate.apply(x, y, ctx.grid)
        return grad_x, grad_weight, grad_bias if of_bias else None, None


class _Spread(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, grid: Grid) -> Tensor:
        ctx.save_for_backward(y, weight)
        ctx.grid = grid
        return _spread(y, weight, grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = gradients
        y, weight = ctx.saved_tensors
        of_y, of_weight, _ = ctx.needs_input_grad
        return (
            _Convolve.apply(x, weight, None, ctx.grid) if of_y else None,
            _Correlate.apply(x, y, ctx.grid)[0] if of_weight else None,
            None,
        )


class _Correlate(Function):
    """Kernels [T, O, k, k, C], and the sums of the maps [T, O], which are the bias's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, y)
        ctx.grid = grid
        return _correlated(x, y, grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias = gradients
        x, y = ctx.saved_tensors
        of_x, of_y, _ = ctx.needs_input_grad
        return (
            _Spread.apply(y, weight, ctx.grid) if of_x else None,
            _Convolve.apply(x, weight, bias, ctx.grid) if of_y else None,
            None,
        )


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, grid: Grid) -> Tensor:
    """Maps, computed with one kernel if all tasks have the same, as before the first inner step."""
    one = _one_kernel(weight, bias)
    weight, bias = (weight[:1], bias if bias is None else bias[:1]) if one else (weight, bias)
    if available(x):
        return torch.ops.mamlbench.convolve(x, weight, bias, grid.numbers)
    return _one_task(_products(x).convolved, one, x, weight, bias, grid)


def _correlated(x: Tensor, y: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    if available(x):
        weight, bias = torch.ops.mamlbench.correlate(x, y, grid.numbers)
        return weight, bias
    weight, bias = _products(x).correlated(x, y.contiguous(), grid)
    return weight, bias


def _spread(y: Tensor, weight: Tensor, grid: Grid) -> Tensor:
    one = _one_kernel(weight, None)
    weight = weight[:1] if one else weight
    if available(y):
        return torch.ops.mamlbench.spread(y, weight, grid.numbers)
    return _one_task(_products(y).spread, one, y.contiguous(), weight, grid)


def _one_task(product: Any, one: bool, images: Tensor, *others: Any) -> Tensor:
    """A product; if `one`, all tasks' images are treated as those of a single task."""
    if not one:
        result: Tensor = product(images, *others)
        return result
    result = product(images.flatten(0, 1)[None], *others)
    return result.unflatten(1, images.shape[:2]).squeeze(0)


def _products(x: Tensor) -> ModuleType:
    return patches_in_tiles if on_cpu(x) else patches_at_once


def _one_kernel(weight: Tensor, bias: Tensor | None) -> bool:
    """Whether all tasks have the same kernel."""
    alike = weight.stride(0) == 0 and (bias is None or bias.stride(0) == 0)
    return alike and len(weight) > 1
