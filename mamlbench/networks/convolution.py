"""Convolution of many tasks' images, each task with a kernel of its own.

Three maps, each linear in both of its arguments: images and kernels give maps (`convolve`), maps
and kernels give images (`_Spread`), images and maps give kernels (`_Correlate`). The derivatives of
each are the other two, so all orders of differentiation come of these three. On a CPU, kernels of
`mamlbench.native` do them. Elsewhere each is a batched product with the images' patches; on a CPU
without those kernels only as many patches exist at a time as stay in its cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from mamlbench.native import available
from mamlbench.networks.row_sums import row_sum

_PATCH_BYTES = 8 * 2**20
"""Patches that exist at a time on a CPU. On 32 MB of shared cache, 4 to 10 MB ran at nine tenths of
the rate of a matrix product alone; 30 MB and more at half of it."""


@dataclass(frozen=True)
class Grid:
    """Where the patches of one image lie.

    Attributes:
        size: height and width of the image.
        kernel: side of a patch.
        stride: from one patch to the next.
    """

    size: tuple[int, int]
    kernel: int
    stride: int

    @property
    def patches(self) -> tuple[int, int]:
        """Patches down and across, with SAME padding."""
        return -(-self.size[0] // self.stride), -(-self.size[1] // self.stride)

    @cached_property
    def numbers(self) -> list[int]:
        """Image, patches, kernel, stride, and the padding above and to the left."""
        (top, _), (left, _) = self.padding
        return [*self.size, *self.patches, self.kernel, self.stride, top, left]

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows above and below, columns left and right: TensorFlow's SAME."""
        down, across = (
            max((count - 1) * self.stride + self.kernel - side, 0)
            for count, side in zip(self.patches, self.size, strict=True)
        )
        return (down // 2, down - down // 2), (across // 2, across - across // 2)


@cache
def grid_of(size: tuple[int, int], kernel: int, stride: int) -> Grid:
    """The same grid each time, with all that it has worked out."""
    return Grid(size, kernel, stride)


def convolve(x: Tensor, weight: Tensor, bias: Tensor, grid: Grid) -> Tensor:
    """Images [T, M, H, W, C] to maps [T, M, h, w, O], zero outside of the images.

    Args:
        x: the images.
        weight: [T, O, k, k, C].
        bias: [T, O].
        grid: where the patches lie.
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
    if available(x):
        one = _one_kernel(weight, bias)
        own_bias = bias[:1] if one and bias is not None else bias
        return torch.ops.mamlbench.convolve(
            x, weight[:1] if one else weight, own_bias, grid.numbers
        )
    y = x.new_empty(*x.shape[:2], *grid.patches, weight.shape[1])
    given, shape = y, y.shape
    if _one_kernel(weight, bias):
        x, y, weight = x.flatten(0, 1)[None], y.flatten(0, 1)[None], weight[:1]
        bias = None if bias is None else bias[:1]
    kernels = weight.flatten(2).transpose(1, 2)
    for tasks, rows, patches in _patches(x.contiguous(), grid):
        out = y[tasks, rows].flatten(1, -2)
        if bias is None:
            torch.bmm(patches, kernels[tasks], out=out)
        else:
            torch.baddbmm(bias[tasks].unsqueeze(1), patches, kernels[tasks], out=out)
    return given.view(shape)


def _correlated(x: Tensor, y: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    if available(x):
        weight, bias = torch.ops.mamlbench.correlate(x, y, grid.numbers)
        return weight, bias
    channels, outputs = x.shape[-1], y.shape[-1]
    patch = grid.kernel**2 * channels
    y = y.contiguous()
    # the product has the shorter side first: the other way round it can take five times as long
    patch_first = patch < outputs
    weight = x.new_zeros(len(x), *((patch, outputs) if patch_first else (outputs, patch)))
    for tasks, rows, patches in _patches(x.contiguous(), grid):
        part = y[tasks, rows].flatten(1, -2)
        if patch_first:
            weight[tasks].baddbmm_(patches.transpose(1, 2), part)
        else:
            weight[tasks].baddbmm_(part.transpose(1, 2), patches)
    if patch_first:
        weight = weight.transpose(1, 2).contiguous()
    bias = row_sum(y.flatten(1, -2)).squeeze(1)
    return weight.view(len(x), outputs, grid.kernel, grid.kernel, channels), bias


def _spread(y: Tensor, weight: Tensor, grid: Grid) -> Tensor:
    if available(y):
        weight = weight[:1] if _one_kernel(weight, None) else weight
        return torch.ops.mamlbench.spread(y, weight, grid.numbers)
    if _same_on_both_sides(grid):  # then this is a convolution too, with turned kernels
        turned = weight.flip(2, 3).transpose(1, -1).contiguous()
        return _convolved(y, turned, None, grid)
    x = y.new_empty(*y.shape[:2], *grid.size, weight.shape[-1])
    given, shape = x, x.shape
    if _one_kernel(weight, None):
        x, y, weight = x.flatten(0, 1)[None], y.flatten(0, 1)[None], weight[:1]
    y = y.contiguous()
    kernels = weight.flatten(2)
    rooms = _Rooms(y, weight.shape[-1], grid)
    for tasks, rows in rooms.tiles:
        part = y[tasks, rows].flatten(1, -2)
        room = rooms.of(tasks, rows)
        torch.bmm(part, kernels[tasks], out=room.patches.view(len(part), part.shape[1], -1))
        room.padded.zero_()
        for place, values in room.places:
            place += values
        x[tasks, rows].flatten(0, 1).copy_(room.inside)
    return given.view(shape)


def _patches(x: Tensor, grid: Grid) -> Iterator[tuple[slice, slice, Tensor]]:
    """Tiles of tasks and of their rows, with their patches [tasks, rows*h*w, k*k*C].

    The patches of a tile are overwritten by those of the next.
    """
    rooms = _Rooms(x, x.shape[-1], grid)
    for tasks, rows in rooms.tiles:
        images, room = x[tasks, rows], rooms.of(tasks, rows)
        room.inside.copy_(images.flatten(0, 1))
        room.patches.copy_(room.windows)
        yield tasks, rows, room.patches.view(len(images), -1, math.prod(room.patches.shape[3:]))


class _Room:
    """Room for padded images and for their patches.

    Attributes:
        padded: [B, H + padding, W + padding, C].
        inside: the images in it, without their padding.
        windows: it again, as it lies under the patches, [B, h, w, k, k, C].
        patches: room for the patches, of the same shape.
    """

    def __init__(self, padded: Tensor, patches: Tensor, grid: Grid) -> None:
        self.padded, self.patches = padded, patches
        (top, _), (left, _) = grid.padding
        self.inside = padded.narrow(1, top, grid.size[0]).narrow(2, left, grid.size[1])
        image, row, column, _ = padded.stride()
        step = grid.stride
        self.windows = padded.as_strided(
            patches.shape, (image, row * step, column * step, row, column, 1)
        )

    @cached_property
    def places(self) -> list[tuple[Tensor, Tensor]]:
        """For each place in a patch, the values under it in all windows, and in all patches."""
        lines = zip(self.windows.unbind(3), self.patches.unbind(3), strict=True)
        return [pair for a, b in lines for pair in zip(a.unbind(3), b.unbind(3), strict=True)]


class _Rooms:
    """The tiles of a batch of images, and one room in which they take turns."""

    def __init__(self, like: Tensor, channels: int, grid: Grid) -> None:
        tasks, rows = like.shape[:2]
        patch = grid.kernel**2 * channels
        images = tasks * rows
        if like.device.type == "cpu":
            image_bytes = math.prod(grid.patches) * patch * like.element_size()
            images = max(1, min(images, _PATCH_BYTES // image_bytes))
        self.tiles = list(_tiles(tasks, rows, images))
        most = max((_count(tile) for tile in self.tiles), default=0)
        (top, bottom), (left, right) = grid.padding
        height, width = grid.size[0] + top + bottom, grid.size[1] + left + right
        self.padded = like.new_zeros(most, height, width, channels)
        self.patches = like.new_empty(most, *grid.patches, grid.kernel, grid.kernel, channels)
        self.grid = grid
        self._cut: dict[int, _Room] = {}

    def of(self, tasks: slice, rows: slice) -> _Room:
        """The room cut to a tile."""
        count = _count((tasks, rows))
        if count not in self._cut:
            self._cut[count] = _Room(self.padded[:count], self.patches[:count], self.grid)
        return self._cut[count]


def _count(tile: tuple[slice, slice]) -> int:
    tasks, rows = tile
    count: int = (tasks.stop - tasks.start) * (rows.stop - rows.start)
    return count


def _tiles(tasks: int, rows: int, images: int) -> Iterator[tuple[slice, slice]]:
    """Slices of tasks and rows that cover all, of at most so many images, and of even size."""
    if rows == 0:
        return
    if images >= 2 * rows:
        size = _even(tasks, images // rows)
        for first in range(0, tasks, size):
            yield slice(first, min(first + size, tasks)), slice(0, rows)
        return
    size = _even(rows, images)
    for task in range(tasks):
        for first in range(0, rows, size):
            yield slice(task, task + 1), slice(first, min(first + size, rows))


def _even(total: int, most: int) -> int:
    """The size of parts of a total, as few as can be and nearly equal."""
    parts = -(-total // most)
    return -(-total // parts)


def _same_on_both_sides(grid: Grid) -> bool:
    """Whether maps are as large as images, and the padding as wide on either side."""
    return grid.stride == 1 and grid.kernel % 2 == 1


def _one_kernel(weight: Tensor, bias: Tensor | None) -> bool:
    """Whether all tasks have the same kernel, as they do before the first inner step."""
    alike = weight.stride(0) == 0 and (bias is None or bias.stride(0) == 0)
    return alike and len(weight) > 1
