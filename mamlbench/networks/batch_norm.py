"""Batch normalisation of many batches at once, each by its own statistics, twice differentiable.

Torch's own takes one batch at a time, and serves large batches on a CPU, one after another. Small
batches, GPUs and gradients that are to be differentiated again go through the formulas, all at
once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from mamlbench.networks.row_sums import row_sum

_LARGE = 2**15
"""Values of a batch from which on torch's own kernel is faster than the formulas, on one core."""


def batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """weight (x - mean) / sqrt(variance + eps) + bias.

    Args:
        x: [B, R, C]: B batches of R rows; mean and (biased) variance are each batch's own.
        weight: [C] or [B, 1, C] (None: 1).
        bias: [C] or [B, 1, C] (None: 0).
        eps: added to the variance.
    """
    return _BatchNorm.apply(x, weight, bias, eps)


class _BatchNorm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        ctx.eps = eps
        if _is_large(x):
            y, mean, inverse = _by_torch(x, weight, bias, eps)
        else:
            mean = _mean(x)
            centred = x - mean
            inverse = (_mean(centred.square()) + eps).rsqrt()
            scale = inverse if weight is None else inverse * weight
            y = centred * scale if bias is None else torch.addcmul(bias, centred, scale)
        ctx.save_for_backward(x, weight, bias, mean, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, inverse = ctx.saved_tensors
        (g,) = gradients
        if torch.is_grad_enabled():  # to be differentiated again, so as functions of x
            mean = _mean(x)
            inverse = (_mean((x - mean).square()) + ctx.eps).rsqrt()
        elif _is_large(x):
            grad_x, grad_weight, grad_bias = _gradients_by_torch(g, x, weight, mean, inverse)
            return grad_x, _summed(grad_weight, weight), _summed(grad_bias, bias), None
        centred = x - mean
        mean_g, mean_gx = _mean(g), _mean(g * centred) * inverse
        scale = inverse if weight is None else inverse * weight
        grad_x = torch.addcmul(-scale * mean_g, g, scale)
        grad_x = torch.addcmul(grad_x, centred, -scale * inverse * mean_gx)
        rows = x.shape[1]
        return grad_x, _summed(rows * mean_gx, weight), _summed(rows * mean_g, bias), None


def _mean(x: Tensor) -> Tensor:
    """Mean over rows, [B, 1, C]."""
    return row_sum(x, 1.0 / x.shape[1])


def _summed(gradient: Tensor, parameter: Tensor | None) -> Tensor | None:
    """A gradient [B, 1, C] in the shape of the parameter that it belongs to."""
    return None if parameter is None else gradient.sum_to_size(parameter.shape)


def _is_large(x: Tensor) -> bool:
    return x.device.type == "cpu" and x[0].numel() >= _LARGE


def _by_torch(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, means [B, 1, C] and inverse standard deviations [B, 1, C]."""
    batches, _, channels = x.shape
    x = x.contiguous()
    y = torch.empty_like(x)
    mean, inverse = x.new_empty(2, batches, 1, channels)
    for b, own_weight, own_bias in _each(batches, weight, bias):
        torch.ops.aten.native_batch_norm.out(
            _image(x[b]),
            own_weight,
            own_bias,
            None,
            None,
            True,
            0.0,
            eps,
            out=_image(y[b]),
            save_mean=mean[b, 0],
            save_invstd=inverse[b, 0],
        )
    return y, mean, inverse


def _gradients_by_torch(
    g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x [B, R, C], and of scale and shift in each batch, [B, 1, C]."""
    batches, _, channels = x.shape
    g, x = g.contiguous(), x.contiguous()
    grad_x = torch.empty_like(x)
    grad_weight, grad_bias = x.new_empty(2, batches, 1, channels)
    for b, own_weight, _ in _each(batches, weight, None):
        torch.ops.aten.native_batch_norm_backward.out(
            _image(g[b]),
            _image(x[b]),
            own_weight,
            None,
            None,
            mean[b, 0],
            inverse[b, 0],
            True,
            0.0,  # epsilon, which is in the inverse standard deviation already
            [True, True, True],
            out0=_image(grad_x[b]),
            out1=grad_weight[b, 0],
            out2=grad_bias[b, 0],
        )
    return grad_x, grad_weight, grad_bias


def _each(
    batches: int, weight: Tensor | None, bias: Tensor | None
) -> Iterator[tuple[int, Tensor | None, Tensor | None]]:
    for b in range(batches):
        yield b, _own(weight, b), _own(bias, b)


def _own(parameter: Tensor | None, batch: int) -> Tensor | None:
    if parameter is None or parameter.dim() == 1:
        return parameter
    return parameter[batch if len(parameter) > 1 else 0, 0]


def _image(rows: Tensor) -> Tensor:
    """Rows [R, C] as one image [1, C, R, 1] whose channels are last in memory."""
    return rows[None, :, None].permute(0, 3, 1, 2)
