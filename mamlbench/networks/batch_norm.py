"""Batch normalisation of many batches at once, each by its own statistics, twice differentiable.

Torch's own takes one batch at a time, and serves large batches on a CPU, one after another. Small
batches, GPUs and gradients that are to be differentiated again go through the formulas, all at
once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
        if torch.is_grad_enabled():  # to be differentiated again
            grad_x, grad_weight, grad_bias = _BatchNormBackward.apply(
                g, x, weight, mean, inverse, ctx.eps
            )
        elif _is_large(x):
            grad_x, grad_weight, grad_bias = _gradients_by_torch(g, x, weight, mean, inverse)
        else:
            grad_x, grad_weight, grad_bias = _Moments.of(x, mean, inverse).gradients(g, weight)
        return grad_x, _summed(grad_weight, weight), _summed(grad_bias, bias), None


class _BatchNormBackward(Function):
    """The gradients of x, scale and shift as functions of g, x and scale."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        x: Tensor,
        weight: Tensor | None,
        mean: Tensor,
        inverse: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.eps = eps
        ctx.save_for_backward(g, x, weight, mean, inverse)
        if _is_large(x):
            return _gradients_by_torch(g, x, weight, mean, inverse)
        return _Moments.of(x, mean, inverse).gradients(g, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, x, weight, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # a third order: the statistics as functions of x
            mean = _mean(x)
            inverse = (_mean((x - mean).square()) + ctx.eps).rsqrt()
        grad_g, grad_x, grad_weight = _Moments.of(x, mean, inverse).second(g, weight, *gradients)
        return grad_g, grad_x, _summed(grad_weight, weight), None, None, None


@dataclass(frozen=True)
class _Moments:
    """A batch x, centred, and what its derivatives share.

    With n = (x - mean) / sigma, x has the gradient (w / sigma) P(g), where w is the scale and
    P(g) = g - mean(g) - n mean(g n). The formulas below have `inverse` (1 / sigma) outside of the
    means, where it is one number a channel.
    """

    centred: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, x: Tensor, mean: Tensor, inverse: Tensor) -> _Moments:
        """Of x [B, R, C] with its mean and inverse standard deviation, [B, 1, C]."""
        return cls(x - mean, inverse)

    def with_(self, v: Tensor) -> Tensor:
        """mean(v n), [B, 1, C]."""
        return _mean(v * self.centred) * self.inverse

    def gradients(self, g: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, and of scale and shift in each batch, where y has the gradient g."""
        mean_g, mean_gn, rows = _mean(g), self.with_(g), g.shape[1]
        scale = self.inverse if weight is None else self.inverse * weight
        grad_x = torch.addcmul(-scale * mean_g, g, scale)
        grad_x = torch.addcmul(grad_x, self.centred, -scale * self.inverse * mean_gn)
        return grad_x, rows * mean_gn, rows * mean_g

    def second(
        self, g: Tensor, weight: Tensor | None, v: Tensor, v_weight: Tensor, v_bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of g, x and scale, where those three gradients have the gradients v.

        They are of w / sigma Q + v_weight sum(g n) + v_bias sum(g), with Q = sum(v P(g)).
        """
        inverse, rows = self.inverse, g.shape[1]
        scale = inverse if weight is None else inverse * weight
        mean_g, mean_v, mean_gn, mean_vn = _mean(g), _mean(v), self.with_(g), self.with_(v)
        q = _mean(v * g) - mean_v * mean_g - mean_vn * mean_gn
        grad_g = torch.addcmul(v_bias - scale * mean_v, v, scale)
        grad_g = torch.addcmul(grad_g, self.centred, (v_weight - scale * mean_vn) * inverse)
        # through n by P, and through sigma
        of_v, of_g = -scale * mean_gn, v_weight - scale * mean_vn
        of_n = -of_v * mean_vn - of_g * mean_gn - scale * q
        grad_x = torch.addcmul(-(of_v * mean_v + of_g * mean_g) * inverse, v, of_v * inverse)
        grad_x = torch.addcmul(grad_x, g, of_g * inverse)
        grad_x = torch.addcmul(grad_x, self.centred, of_n * inverse.square())
        return grad_g, grad_x, rows * inverse * q


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
