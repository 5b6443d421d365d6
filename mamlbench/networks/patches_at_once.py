"""Products of convolutions with the patches of all images at once, in few operations, for GPUs.

Nothing is changed in place, so that a trace of them can be made simpler. See
`mamlbench.networks.convolution`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamlbench.networks.grid import Grid
from mamlbench.networks.row_sums import row_sum

_ENOUGH_OUTPUTS = 2**20
"""Numbers in a batch of products that keep all of a GPU at work; of fewer, each is taken apart."""


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, grid: Grid) -> Tensor:
    """Maps [T, M, h, w, O] of images [T, M, H, W, C], kernels [T, O, k, k, C] and bias [T, O]."""
    patches, kernels = _patches(x, grid).flatten(1, 2), weight.flatten(2).transpose(1, 2)
    if bias is None:
        y = torch.bmm(patches, kernels)
    else:
        y = torch.baddbmm(bias.unsqueeze(1), patches, kernels)
    return y.view(*x.shape[:2], *grid.patches, weight.shape[1])


def correlated(x: Tensor, y: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Kernels [T, O, k, k, C] of images and contiguous maps, and the sums of the maps [T, O]."""
    patches, maps = _patches(x, grid), y.flatten(2, 3)
    tasks, outputs, values = len(x), y.shape[-1], patches.shape[-1]
    if tasks * outputs * values < _ENOUGH_OUTPUTS:
        each = torch.bmm(maps.flatten(0, 1).transpose(1, 2), patches.flatten(0, 1))
        weight = each.unflatten(0, x.shape[:2]).sum(1)
    else:
        weight = torch.bmm(maps.flatten(1, 2).transpose(1, 2), patches.flatten(1, 2))
    bias = row_sum(y.flatten(1, -2)).squeeze(1)
    return weight.view(tasks, outputs, grid.kernel, grid.kernel, x.shape[-1]), bias


def spread(y: Tensor, weight: Tensor, grid: Grid) -> Tensor:
    """Images [T, M, H, W, C] of contiguous maps and kernels."""
    (top, bottom), (left, right) = grid.padding
    (height, width), channels = grid.size, weight.shape[-1]
    patches = torch.bmm(y.flatten(1, -2), weight.flatten(2))
    columns = patches.view(y.shape[0] * y.shape[1], -1, grid.kernel**2, channels)
    columns = columns.permute(0, 3, 2, 1).flatten(1, 2)
    size = height + top + bottom, width + left + right
    padded = F.fold(columns, size, grid.kernel, stride=grid.stride)
    images = padded[:, :, top : top + height, left : left + width].permute(0, 2, 3, 1)
    return images.contiguous().unflatten(0, y.shape[:2])


def _patches(x: Tensor, grid: Grid) -> Tensor:
    """Patches [T, M, h*w, k*k*C] of images [T, M, H, W, C]."""
    (top, bottom), (left, right) = grid.padding
    padded = F.pad(x.contiguous().flatten(0, 1), (0, 0, left, right, top, bottom))
    image, row, column, _ = padded.stride()
    step, sides = grid.stride, (grid.kernel, grid.kernel, x.shape[-1])
    windows = padded.as_strided(
        (len(padded), *grid.patches, *sides), (image, row * step, column * step, row, column, 1)
    )
    return windows.flatten(3).flatten(1, 2).unflatten(0, x.shape[:2])
