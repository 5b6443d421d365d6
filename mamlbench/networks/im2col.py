"""Patches of images as rows of a matrix, and back: each is the derivative of the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


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

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows above and below, columns left and right: TensorFlow's SAME."""
        down, across = (
            max((count - 1) * self.stride + self.kernel - side, 0)
            for count, side in zip(self.patches, self.size, strict=True)
        )
        return (down // 2, down - down // 2), (across // 2, across - across // 2)


def im2col(x: Tensor, kernel: int, stride: int) -> tuple[Tensor, tuple[int, int]]:
    """Images [B, H, W, C] to ([B*h*w, kernel*kernel*C], (h, w)), zero outside of the image."""
    grid = Grid((x.shape[1], x.shape[2]), kernel, stride)
    return _Im2Col.apply(x, grid), grid.patches


class _Im2Col(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Grid) -> Tensor:
        ctx.grid = grid
        return _gather(x, grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Col2Im.apply(gradients[0], ctx.grid), None


class _Col2Im(Function):
    @staticmethod
    def forward(ctx: Any, columns: Tensor, grid: Grid) -> Tensor:
        ctx.grid = grid
        return _scatter(columns, grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Im2Col.apply(gradients[0], ctx.grid), None


def _gather(x: Tensor, grid: Grid) -> Tensor:
    (top, bottom), (left, right) = grid.padding
    padded = F.pad(x, (0, 0, left, right, top, bottom))
    batch, _, _, channels = padded.shape
    image, row, column, _ = padded.stride()
    (height, width), (kernel, stride) = grid.patches, (grid.kernel, grid.stride)
    patches = padded.as_strided(
        (batch, height, width, kernel, kernel, channels),
        (image, row * stride, column * stride, row, column, 1),
    )
    return patches.reshape(batch * height * width, kernel * kernel * channels)


def _scatter(columns: Tensor, grid: Grid) -> Tensor:
    (height, width), (kernel, stride) = grid.patches, (grid.kernel, grid.stride)
    (top, bottom), (left, right) = grid.padding
    patches = columns.reshape(-1, height, width, kernel, kernel, columns.shape[-1] // kernel**2)
    size = grid.size[0] + top + bottom, grid.size[1] + left + right
    padded = columns.new_zeros(patches.shape[0], *size, patches.shape[-1])
    for i in range(kernel):
        down = slice(i, i + stride * (height - 1) + 1, stride)
        for j in range(kernel):
            across = slice(j, j + stride * (width - 1) + 1, stride)
            padded[:, down, across] += patches[:, :, :, i, j]
    return padded[:, top : top + grid.size[0], left : left + grid.size[1]].contiguous()
