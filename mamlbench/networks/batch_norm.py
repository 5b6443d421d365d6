"""Batch normalisation of many batches at once, with what follows, differentiable in any order.

Each batch has its own statistics. On a CPU, kernels of `mamlbench.native` read and write each value
as rarely as possible. Elsewhere torch operations follow the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from mamlbench.native import available
from mamlbench.networks.row_sums import row_mean, row_mean_square


@dataclass(frozen=True)
class Then:
    """What follows a normalisation: a ReLU, then the maximum of each 2x2 window.

    Attributes:
        relu: whether there is a ReLU.
        pool: whether there is the maximum.
        keep_odd: an odd last row and column have windows of their own; otherwise they are dropped.
    """

    relu: bool = False
    pool: bool = False
    keep_odd: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to x [..., M, H, W, C], or to x of any shape if there is no maximum."""
        x = F.relu(x) if self.relu else x
        return self.maxima(x)[0] if self.pool else x

    def maxima(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The maxima [..., M, h, w, C] of x [..., M, H, W, C] and their positions in each image."""
        flat = x.flatten(0, -4).permute(0, 3, 1, 2)
        found = F.max_pool2d(flat, 2, ceil_mode=self.keep_odd, return_indices=True)
        values, places = (y.permute(0, 2, 3, 1).unflatten(0, x.shape[:-3]) for y in found)
        return values, places


NOTHING = Then()


def batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, then: Then = NOTHING
) -> Tensor:
    """weight (x - mean) / sqrt(variance + eps) + bias, followed by `then`.

    Args:
        x: [B, ..., C]: B batches of rows, each with its own mean and (biased) variance; with maxima
            [B, M, H, W, C].
        weight: [C] or [B, 1, C] (None: 1).
        bias: [C] or [B, 1, C] (None: 0).
        eps: added to the variance.
        then: the ReLU and maxima that follow.
    """
    rows = x.flatten(1, -2)
    if not available(x):
        return then(_BatchNorm.apply(rows, weight, bias, eps, NOTHING).view(x.shape))
    images = x if then.pool else rows[:, None, :, None]
    y: Tensor = _BatchNorm.apply(images, weight, bias, eps, then)
    return y if then.pool else y.view(x.shape)


class _BatchNorm(Function):
    """By kernels for x [B, M, H, W, C], or by formulas for x [B, R, C] with nothing after it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, then: Then
    ) -> Tensor:
        if available(x):
            y, mean, inverse = torch.ops.mamlbench.batch_norm(x, weight, bias, eps, _numbers(then))
        else:
            mean, inverse = _statistics(x, eps)
            y = _Moments.of(x, mean, inverse).outputs(weight, bias)
        ctx.save_for_backward(x, weight, bias, mean, inverse)
        ctx.options = eps, then
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        _, weight, bias, *_ = saved = ctx.saved_tensors
        grad_x, grad_weight, grad_bias = _BatchNormBackward.apply(*gradients, *saved, *ctx.options)
        return grad_x, _summed(grad_weight, weight), _summed(grad_bias, bias), None, None


class _BatchNormBackward(Function):
    """The gradients of x, scale and shift as functions of g, x and scale."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
        g, x, weight, _, mean, inverse, _, then = given
        ctx.save_for_backward(*given[:6])
        ctx.options = given[6:]
        if not available(x):
            return _Moments.of(x, mean, inverse).gradients(g, weight)
        found = torch.ops.mamlbench.batch_norm_backward(*given[:6], _numbers(then))
        grad_x, grad_weight, grad_bias = found
        return grad_x, grad_weight, grad_bias

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, x, weight, bias, mean, inverse = saved = ctx.saved_tensors
        eps, then = ctx.options
        if torch.is_grad_enabled():  # third order
            found = _second(g, x, weight, bias, gradients, eps, then)
        elif available(x):
            numbers = _numbers(then)
            found = torch.ops.mamlbench.batch_norm_second(*saved, list(gradients), numbers)
        else:
            found = _Moments.of(x, mean, inverse).second(g, weight, *gradients)
        grad_g, grad_x, grad_weight = found
        return grad_g, grad_x, _summed(grad_weight, weight), None, None, None, None, None


def _second(
    g: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    v: tuple[Tensor, ...],
    eps: float,
    then: Then,
) -> tuple[Tensor, Tensor, Tensor]:
    """A differentiable `batch_norm_second`, by formulas; choices of ReLU and maxima are constant.

    The statistics are functions of x here.
    """
    rows = x.flatten(1, -2)
    moments = _Moments.of(rows, *_statistics(rows, eps))
    with torch.no_grad():
        y = moments.outputs(weight, bias).view(x.shape)
        passes = y > 0 if then.relu else torch.ones_like(y, dtype=torch.bool)
        places = then.maxima(y)[1].flatten(2, 3) if then.pool else None

    def back(passed: Tensor) -> Tensor:
        """Turn a gradient of the outputs into one of the normalised values, [B, R, C]."""
        if places is not None:
            empty = passed.new_zeros(*x.shape[:2], x.shape[2] * x.shape[3], x.shape[4])
            passed = empty.scatter(2, places, passed.flatten(2, 3))
        return (passed.reshape(x.shape) * passes).flatten(1, -2)

    v_x, v_weight, v_bias = v
    grad_g, grad_x, grad_weight = moments.second(
        back(g), weight, v_x.flatten(1, -2), v_weight, v_bias
    )
    grad_g = grad_g.view(x.shape) * passes
    if places is not None:
        grad_g = grad_g.flatten(2, 3).gather(2, places)
    return grad_g.reshape(g.shape), grad_x.view(x.shape), grad_weight


def _numbers(then: Then) -> list[int]:
    return [int(then.relu), int(then.pool), int(then.keep_odd)]


def _statistics(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation of each batch, [B, 1, C]."""
    mean = row_mean(x)
    return mean, (row_mean_square(x - mean) + eps).rsqrt()


@dataclass(frozen=True)
class _Moments:
    """A standardised batch x, and the terms that its derivatives share.

    With n = (x - mean) / sigma, x has the gradient (w / sigma) P(g), where w is the scale and
    P(g) = g - mean(g) - n mean(g n). Factors with one number per channel are combined before they
    multiply the rows.
    """

    n: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, x: Tensor, mean: Tensor, inverse: Tensor) -> _Moments:
        """From x [B, R, C] with its mean and inverse standard deviation, [B, 1, C]."""
        return cls(torch.addcmul(-mean * inverse, x, inverse), inverse)

    def scale(self, weight: Tensor | None) -> Tensor:
        """w / sigma, [B, 1, C]."""
        return self.inverse if weight is None else self.inverse * weight

    def outputs(self, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """w n + bias."""
        if bias is None:
            return self.n if weight is None else self.n * weight
        return self.n + bias if weight is None else torch.addcmul(bias, self.n, weight)

    def gradients(self, g: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, and of scale and shift for each batch, given the gradient g of y."""
        mean_g, mean_gn, rows = row_mean(g), row_mean(g * self.n), g.shape[1]
        scale = self.scale(weight)
        grad_x = torch.addcmul(-scale * mean_g, g, scale)
        grad_x = torch.addcmul(grad_x, self.n, scale * mean_gn, value=-1)
        return grad_x, rows * mean_gn, rows * mean_g

    def second(
        self, g: Tensor, weight: Tensor | None, v: Tensor, v_weight: Tensor, v_bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of g, x and scale, given gradients v, v_weight, v_bias of those gradients.

        They differentiate w / sigma Q + v_weight sum(g n) + v_bias sum(g), with Q = sum(v P(g)).
        """
        n, scale, rows = self.n, self.scale(weight), g.shape[1]
        mean_g, mean_v, mean_gn, mean_vn = (
            row_mean(g),
            row_mean(v),
            row_mean(g * n),
            row_mean(v * n),
        )
        q = torch.addcmul(row_mean(v * g), mean_v, mean_g, value=-1)
        q = torch.addcmul(q, mean_vn, mean_gn, value=-1)
        of_g = torch.addcmul(v_weight, scale, mean_vn, value=-1)
        grad_g = torch.addcmul(torch.addcmul(v_bias, scale, mean_v, value=-1), v, scale)
        grad_g = torch.addcmul(grad_g, n, of_g)
        # through n in P, and through sigma
        less_v = scale * mean_gn
        of_n = torch.addcmul(less_v * mean_vn, of_g, mean_gn, value=-1)
        of_n = torch.addcmul(of_n, scale, q, value=-1) * self.inverse
        less_v, of_g = less_v * self.inverse, of_g * self.inverse
        grad_x = torch.addcmul(less_v * mean_v, of_g, mean_g, value=-1)
        grad_x = torch.addcmul(grad_x, v, less_v, value=-1)
        grad_x = torch.addcmul(grad_x, g, of_g)
        grad_x = torch.addcmul(grad_x, n, of_n)
        return grad_g, grad_x, rows * self.inverse * q


def _summed(gradient: Tensor, parameter: Tensor | None) -> Tensor | None:
    """Sum a gradient [B, 1, C] to the shape of its parameter."""
    return None if parameter is None else gradient.sum_to_size(parameter.shape)
