"""Convolutions as products with the patches of all images at once, in few operations, for GPUs.

Nothing is modified in place, so that a trace can be simplified. See
`mamlbench.networks.convolution`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamlbench.networks.grid import Grid
from mamlbench.networks.row_sums import divisor, row_sum

_ENOUGH_OUTPUTS = 2**20
"""Outputs of a batched product that keep a whole GPU busy. With fewer, the product is split along
the summed dimension into parts that make up for it."""


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
    patches, maps = _patches(x, grid).flatten(1, 2), y.flatten(1, -2)
    tasks, rows, outputs = maps.shape
    parts = divisor(rows, max(1, _ENOUGH_OUTPUTS // (tasks * outputs * patches.shape[-1])))
    a, b = (side.reshape(tasks * parts, rows // parts, -1) for side in (maps, patches))
    weight = torch.bmm(a.transpose(1, 2), b)
    if parts > 1:
        weight = weight.unflatten(0, (tasks, parts)).sum(1)
    bias = row_sum(maps).squeeze(1)
    return weight.view(tasks, outputs, grid.kernel, grid.kernel, x.shape[-1]), bias


def spread(y: Tensor, weight: Tensor, grid: Grid) -> Tensor:
    """Images [T, M, H, W, C] of contiguous maps and kernels.

    With stride s, each block of s x s pixels is a sum over the few positions of the maps near it: a
    convolution of stride 1, whose kernels have all pixels of a block as outputs.
    """
    tasks, rows, height, width, outputs = y.shape
    step, channels = grid.stride, weight.shape[-1]
    reach = -(-grid.kernel // step)
    more = reach * step - grid.kernel
    blocks = F.pad(weight, (0, 0, 0, more, 0, more))
    blocks = blocks.view(tasks, outputs, reach, step, reach, step, channels).flip(2, 4)
    kernels = blocks.permute(0, 2, 4, 1, 3, 5, 6).reshape(tasks, reach**2 * outputs, -1)
    edge = reach - 1
    patches = _windows(y, reach, 1, (height + edge, width + edge), (edge, edge, edge, edge))
    pixels = torch.bmm(patches.flatten(1, 2), kernels)
    pixels = pixels.view(tasks * rows, height + edge, width + edge, step, step, channels)
    padded = pixels.permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2, 3)
    (top, _), (left, _) = grid.padding
    images = padded.narrow(1, top, grid.size[0]).narrow(2, left, grid.size[1])
    return images.contiguous().view(tasks, rows, *grid.size, channels)


def _patches(x: Tensor, grid: Grid) -> Tensor:
    """Patches [T, M, h*w, k*k*C] of images [T, M, H, W, C]."""
    (top, bottom), (left, right) = grid.padding
    return _windows(x, grid.kernel, grid.stride, grid.patches, (left, right, top, bottom))


def _windows(
    x: Tensor, side: int, step: int, count: tuple[int, int], edges: tuple[int, int, int, int]
) -> Tensor:
    """Windows [T, M, n*n', side*side*C] of images [T, M, H, W, C], `count` of them down and across.

    `edges` are the numbers of zeros on the left, right, top and bottom.
    """
    padded = F.pad(x.contiguous().flatten(0, 1), (0, 0, *edges))
    image, row, column, _ = padded.stride()
    windows = padded.as_strided(
        (len(padded), *count, side, side, x.shape[-1]),
        (image, row * step, column * step, row, column, 1),
    )
    return windows.reshape(*x.shape[:2], count[0] * count[1], -1)
