"""Affine maps of many tasks' rows, each task with its own matrix.

Like `mamlbench.networks.convolution`: three operations whose derivatives are each other. Torch's
own gradient of a matrix is transposed in memory, which makes sums over tasks and inner steps many
times slower.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from mamlbench.networks.row_sums import row_sum


def task_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Rows [T, M, I] to rows [T, M, O].

    Args:
        x: the rows.
        weight: [T, O, I].
        bias: [T, O].
    """
    y: Tensor = _Linear.apply(x, weight, bias)
    return y


class _Linear(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = gradients
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        grad_weight = grad_bias = None
        if of_weight or of_bias:
            grad_weight, grad_bias = _Correlate.apply(x, y)
        grad_x = torch.bmm(y, weight) if of_x else None
        return grad_x, grad_weight, grad_bias if of_bias else None


class _Correlate(Function):
    """Matrices [T, O, I], and the sums of the rows [T, O], which are the bias's gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.bmm(y.transpose(1, 2), x), row_sum(y).squeeze(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias = gradients
        x, y = ctx.saved_tensors
        of_x, of_y = ctx.needs_input_grad
        grad_x = torch.bmm(y, weight) if of_x else None
        return grad_x, _Linear.apply(x, weight, bias) if of_y else None
