"""Batch normalisation of many batches at once, each by its own statistics.

Torch's own takes one batch at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from mamlbench.networks.row_sums import row_sum


def batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """weight (x - mean) / sqrt(variance + eps) + bias, twice differentiable.

    Args:
        x: [B, R, C]: B batches of R rows; mean and (biased) variance are each batch's own.
        weight: broadcasts over x (None: 1).
        bias: broadcasts over x (None: 0).
        eps: added to the variance.
    """
    return _BatchNorm.apply(x, weight, bias, eps)


def _mean(x: Tensor) -> Tensor:
    """Mean over rows, [B, 1, C]."""
    return row_sum(x, 1.0 / x.shape[1])


def _standard(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x less its mean, and the inverse standard deviation [B, 1, C]."""
    centred = x - _mean(x)
    return centred, (_mean(centred.square()) + eps).rsqrt()


class _BatchNorm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        centred, inverse = _standard(x, eps)
        ctx.save_for_backward(x, weight, bias, centred, inverse)
        ctx.eps = eps
        scale = inverse if weight is None else inverse * weight
        return centred * scale if bias is None else torch.addcmul(bias, centred, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, centred, inverse = ctx.saved_tensors
        (g,) = gradients
        if torch.is_grad_enabled():  # to be differentiated again, so as functions of x
            centred, inverse = _standard(x, ctx.eps)
        mean_g, mean_gx = _mean(g), _mean(g * centred) * inverse
        scale = inverse if weight is None else inverse * weight
        grad_x = torch.addcmul(-scale * mean_g, g, scale)
        grad_x = torch.addcmul(grad_x, centred, -scale * inverse * mean_gx)
        rows = x.shape[1]
        grad_weight = None if weight is None else (rows * mean_gx).sum_to_size(weight.shape)
        grad_bias = None if bias is None else (rows * mean_g).sum_to_size(bias.shape)
        return grad_x, grad_weight, grad_bias, None
