"""Task-batched layers: one call serves T tasks, each with its own parameters.

Every layer takes activations [T, M, ...] (images channels last, [T, M, H, W, C]) and holds ordinary
parameters, which all tasks share, unless `torch.func.functional_call` replaces them by per-task
parameters with T in front.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.errors import one_of, require
from mamlbench.networks.batch_norm import NOTHING, Then, batch_norm
from mamlbench.networks.convolution import convolve
from mamlbench.networks.grid import grid_of
from mamlbench.networks.task_linear import task_linear

NORMS = ("batch", "support", "running", "group", "none")
AFFINES = ("none", "shift", "scale_shift")


@dataclass(frozen=True)
class Rows:
    """Which of a task's M examples are normalised together.

    Attributes:
        groups: the M rows are this many consecutive batches of equal size, normalised separately.
        reference: only this many first rows of each batch give the statistics (None: all rows).
    """

    groups: int = 1
    reference: int | None = None


class _Products(nn.Module, ABC):
    """A layer whose products may be computed in a smaller dtype than that of its inputs.

    Attributes:
        weight, bias: its parameters.
        product_dtype: dtype of the products (None: that of the inputs).
    """

    weight: Tensor
    bias: Tensor
    product_dtype: torch.dtype | None = None

    @override
    def forward(self, x: Tensor) -> Tensor:
        dtype = self.product_dtype or x.dtype
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        return self.product(x.to(dtype), weight, bias).to(x.dtype)

    @abstractmethod
    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """What the layer computes."""


class Linear(_Products):
    """Affine map of the last dimension, [T, M, inputs] to [T, M, outputs].

    With parameters [T*P, ...], P for each task, it gives [T*P, M, outputs].
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    @override
    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        if len(x) < len(weight):
            x = x.repeat_interleave(len(weight) // len(x), 0)
        return task_linear(x, weight, bias)


class Conv2d(_Products):
    """3x3 convolution with TensorFlow's SAME padding, as in the papers' own code.

    [T, M, H, W, C] to [T, M, ceil(H / stride), ceil(W / stride), outputs]. With stride 2 an even
    side is padded only after the last row; symmetric padding would shift the grid.
    """

    kernel = 3

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        weight = torch.empty(outputs, inputs, self.kernel, self.kernel)
        nn.init.xavier_uniform_(weight)
        # channels last in memory, as the images are
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(outputs))

    @override
    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        grid = grid_of((x.shape[2], x.shape[3]), self.kernel, self.stride)
        weight = weight.movedim(-3, -1)
        if weight.dim() == 4:
            y = convolve(x.flatten(0, 1)[None], weight[None], bias[None], grid)
            return y[0].unflatten(0, x.shape[:2])
        return convolve(x, weight, bias, grid)


def take_products_in(network: nn.Module, dtype: torch.dtype) -> int:
    """Compute the products of all linear and convolution layers in `dtype`; returns how many."""
    layers = [module for module in network.modules() if isinstance(module, _Products)]
    for layer in layers:
        layer.product_dtype = dtype
    return len(layers)


class Norm(nn.Module):
    """Normalisation of the last dimension, with a learned scale and shift as `affine` says.

    Call it with x [T, M, ..., C], the rows that share statistics, and what follows (`Then`).

    Args:
        channels: C.
        norm: `batch`: by the mean and variance of the task's current batch (all its query rows
            together, unless `Rows` splits them); `support`: the same, but query rows use the
            statistics of the support rows placed before them; `running`: as `batch` in training, by
            running averages in evaluation; `group`: each example separately, in
            gcd(`channel_groups`, C) groups of channels; `none`: no normalisation.
        affine: `none`, `shift` (MAML's official code) or `scale_shift`; always `none` without norm.
        eps: added to the variance.
    """

    channel_groups = 8
    momentum = 0.1

    def __init__(self, channels: int, norm: str, affine: str, eps: float = 1e-3) -> None:
        super().__init__()
        one_of("norm", norm, NORMS)
        one_of("affine", affine, AFFINES)
        self.channels, self.norm, self.eps = channels, norm, eps
        affine = "none" if norm == "none" else affine  # the layer before has its own bias
        scale = affine == "scale_shift"
        self.weight = nn.Parameter(torch.ones(channels)) if scale else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine != "none" else None
        self.recording = False
        self.running_mean: Tensor
        self.running_var: Tensor
        if norm == "running":
            self.register_buffer("running_mean", torch.zeros(channels))
            self.register_buffer("running_var", torch.ones(channels))

    @classmethod
    def of_vectors(cls, width: int, norm: str, affine: str) -> Norm:
        """For vectors, whose groups are meaningful only if they have several numbers.

        Raises:
            BadValue: as the constructor, or groups of one number, which are always 0, or of two.
        """
        layer = cls(width, norm, affine)
        each = width // layer.groups
        others = ", ".join(name for name in NORMS if name != "group")
        few = f"{others}: group would have {each} of {width} numbers in each group"
        require(norm != "group" or each > 2, "norm", norm, few)
        return layer

    @property
    def groups(self) -> int:
        """Number of channel groups with norm `group`."""
        return math.gcd(self.channel_groups, self.channels)

    @override
    def forward(self, x: Tensor, rows: Rows, then: Then = NOTHING) -> Tensor:
        of_batch = self.norm in ("batch", "support") or (self.norm == "running" and self.training)
        if not of_batch:
            return then(self._by_itself(x))
        batches = x.unflatten(1, (rows.groups, -1))
        over = tuple(range(2, batches.dim() - 1))
        if self.recording:
            self._record(batches, over)
        if rows.reference is not None:
            reference = batches[:, :, : rows.reference]
            return then(self._affine(self._standardise(batches, reference, over).flatten(1, 2)))
        weight, bias = (_of_batches(p, rows.groups) for p in (self.weight, self.bias))
        y = batch_norm(batches.flatten(0, 1), weight, bias, self.eps, then)
        return y.unflatten(0, (len(x), rows.groups)).flatten(1, 2)

    def _by_itself(self, x: Tensor) -> Tensor:
        """Normalise each example independently of the others, or not at all."""
        if self.norm == "none":
            return x
        if self.norm == "running":
            return self._affine((x - self.running_mean) * (self.running_var + self.eps).rsqrt())
        groups = x.unflatten(-1, (self.groups, -1))
        within = (*range(2, x.dim() - 1), x.dim())
        return self._affine(self._standardise(groups, groups, within).flatten(-2))

    def _standardise(self, x: Tensor, reference: Tensor, over: tuple[int, ...]) -> Tensor:
        variance, mean = torch.var_mean(reference, over, correction=0, keepdim=True)
        scale = (variance + self.eps).rsqrt()
        return torch.addcmul(-mean * scale, x, scale)

    def _affine(self, x: Tensor) -> Tensor:
        weight, bias = _over_rows(self.weight, x), _over_rows(self.bias, x)
        x = x if weight is None else x * weight
        return x if bias is None else x + bias

    @torch.no_grad()
    def _record(self, reference: Tensor, over: tuple[int, ...]) -> None:
        variance, mean = torch.var_mean(reference, over, correction=0)
        self.running_mean.lerp_(mean.mean(dim=(0, 1)), self.momentum)
        self.running_var.lerp_(variance.mean(dim=(0, 1)), self.momentum)


def _over_rows(parameter: Tensor | None, x: Tensor) -> Tensor | None:
    """A parameter [C] or [T, C] in the shape that broadcasts over x, [T, ..., C]."""
    if parameter is None or parameter.dim() == 1:
        return parameter
    return parameter.reshape(parameter.shape[0], *[1] * (x.dim() - 2), parameter.shape[1])


def _of_batches(parameter: Tensor | None, groups: int) -> Tensor | None:
    """A parameter [C] or [T, C] as it broadcasts over T * groups batches, [T * groups, R, C]."""
    if parameter is None or parameter.dim() == 1:
        return parameter
    each = parameter if groups == 1 else parameter.repeat_interleave(groups, 0)
    return each.unsqueeze(1)
