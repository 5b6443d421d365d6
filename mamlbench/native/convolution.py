"""The maps of convolution.cpp.

Kernels are [T, O, k, k, C], or [1, O, k, k, C] if all tasks share one. A grid holds the height and
width of images, those of maps, the kernel's size, the stride, and the padding above and to the
left.
"""

from __future__ import annotations

from torch import Tensor

from mamlbench.native.operations import define, run


def _maps(x: Tensor, weight: Tensor, bias: Tensor | None, grid: list[int]) -> Tensor:
    return x.new_empty(*x.shape[:2], *grid[2:4], weight.shape[1])


def _convolve(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, grid: list[int]) -> None:
    x, weight = x.contiguous(), weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    run("convolve", [x, weight, bias, y], _numbers(x, weight), grid)


def _images(y: Tensor, weight: Tensor, grid: list[int]) -> Tensor:
    return y.new_empty(*y.shape[:2], *grid[:2], weight.shape[-1])


def _spread(x: Tensor, y: Tensor, weight: Tensor, grid: list[int]) -> None:
    y, weight = y.contiguous(), weight.contiguous()
    run("spread", [y, weight, x], _numbers(y, weight), grid)


def _numbers(images: Tensor, weight: Tensor) -> list[int]:
    """Tasks, images, channels, outputs, and whether all tasks share one kernel."""
    tasks, count = images.shape[:2]
    return [tasks, count, weight.shape[-1], weight.shape[1], int(len(weight) < tasks)]


def _kernels(x: Tensor, y: Tensor, grid: list[int]) -> tuple[Tensor, Tensor]:
    """Room for kernels, and for sums of the maps [T, O]."""
    weight = x.new_empty(len(x), y.shape[-1], grid[4], grid[4], x.shape[-1])
    return weight, y.new_empty(len(y), y.shape[-1])


def _correlate(results: tuple[Tensor, Tensor], x: Tensor, y: Tensor, grid: list[int]) -> None:
    x, y = x.contiguous(), y.contiguous()
    sizes = [*x.shape[:2], x.shape[-1], y.shape[-1]]
    run("correlate", [x, y, *results], sizes, grid)


define("convolve(Tensor x, Tensor weight, Tensor? bias, int[] grid) -> Tensor", _maps, _convolve)
define("spread(Tensor y, Tensor weight, int[] grid) -> Tensor", _images, _spread)
define("correlate(Tensor x, Tensor y, int[] grid) -> (Tensor, Tensor)", _kernels, _correlate)
