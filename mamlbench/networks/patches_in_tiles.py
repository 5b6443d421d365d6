"""Convolutions as products with the patches of a few images at a time, which fit a CPU's cache.

For a CPU without the kernels of `mamlbench.native`; see `mamlbench.networks.convolution`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from mamlbench.networks.grid import Grid
from mamlbench.networks.row_sums import row_sum

_PATCH_BYTES = 8 * 2**20
"""Size of the patches that exist at a time. With 32 MB of shared cache, 4 to 10 MB reached nine
tenths of the rate of a matrix product alone; 30 MB and more reached half of it."""


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, grid: Grid) -> Tensor:
    """Maps [T, M, h, w, O] of images [T, M, H, W, C], kernels [T, O, k, k, C] and bias [T, O]."""
    y = x.new_empty(*x.shape[:2], *grid.patches, weight.shape[1])
    kernels = weight.flatten(2).transpose(1, 2)
    for tasks, rows, patches in _patches(x.contiguous(), grid):
        out = y[tasks, rows].flatten(1, -2)
        if bias is None:
            torch.bmm(patches, kernels[tasks], out=out)
        else:
            torch.baddbmm(bias[tasks].unsqueeze(1), patches, kernels[tasks], out=out)
    return y


def correlated(x: Tensor, y: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Kernels [T, O, k, k, C] of images and contiguous maps, and the sums of the maps [T, O]."""
    channels, outputs = x.shape[-1], y.shape[-1]
    patch = grid.kernel**2 * channels
    # the shorter side of the product comes first: the other order can take five times as long
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


def spread(y: Tensor, weight: Tensor, grid: Grid) -> Tensor:
    """Images [T, M, H, W, C] of contiguous maps and kernels."""
    if grid.same_on_both_sides:  # then this is a convolution too, with flipped kernels
        return convolved(y, weight.flip(2, 3).transpose(1, -1).contiguous(), None, grid)
    x = y.new_empty(*y.shape[:2], *grid.size, weight.shape[-1])
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
    return x


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
    """Buffers for padded images and for their patches.

    Attributes:
        padded: [B, H + padding, W + padding, C].
        inside: view of the images in `padded`, without the padding.
        windows: view of `padded` under each patch, [B, h, w, k, k, C].
        patches: buffer for the patches, of the same shape.
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
        """For each position in a patch, its values in all windows and in all patches."""
        lines = zip(self.windows.unbind(3), self.patches.unbind(3), strict=True)
        return [pair for a, b in lines for pair in zip(a.unbind(3), b.unbind(3), strict=True)]


class _Rooms:
    """The tiles of a batch of images, and the buffers that all tiles reuse."""

    def __init__(self, like: Tensor, channels: int, grid: Grid) -> None:
        tasks, rows = like.shape[:2]
        patch = grid.kernel**2 * channels
        image_bytes = math.prod(grid.patches) * patch * like.element_size()
        images = max(1, min(tasks * rows, _PATCH_BYTES // image_bytes))
        self.tiles = list(_tiles(tasks, rows, images))
        most = max((_count(tile) for tile in self.tiles), default=0)
        (top, bottom), (left, right) = grid.padding
        height, width = grid.size[0] + top + bottom, grid.size[1] + left + right
        self.padded = like.new_zeros(most, height, width, channels)
        self.patches = like.new_empty(most, *grid.patches, grid.kernel, grid.kernel, channels)
        self.grid = grid
        self._cut: dict[int, _Room] = {}

    def of(self, tasks: slice, rows: slice) -> _Room:
        """The buffers, cut to the size of a tile."""
        count = _count((tasks, rows))
        if count not in self._cut:
            self._cut[count] = _Room(self.padded[:count], self.patches[:count], self.grid)
        return self._cut[count]


def _count(tile: tuple[slice, slice]) -> int:
    tasks, rows = tile
    count: int = (tasks.stop - tasks.start) * (rows.stop - rows.start)
    return count


def _tiles(tasks: int, rows: int, images: int) -> Iterator[tuple[slice, slice]]:
    """Slices that cover all tasks and rows, nearly equal, each of at most `images` images."""
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
    """The part size that splits `total` into the fewest nearly equal parts of at most `most`."""
    parts = -(-total // most)
    return -(-total // parts)
