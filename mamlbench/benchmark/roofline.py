"""How close a step comes to the machine's limits: counted arithmetic, measured rates."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

import mamlbench.native  # noqa: F401  which defines torch.ops.mamlbench
from mamlbench.hardware.device import Hardware
from mamlbench.native.operations import run

_TRIES = 8
"""The best try counts: it depends least on what else runs on the machine."""

_KERNELS = (
    torch.ops.mamlbench.convolve,
    torch.ops.mamlbench.spread,
    torch.ops.mamlbench.correlate,
)


def arithmetic(step: Callable[[], None]) -> float:
    """Floating-point operations of the matrix products and convolutions in one step."""
    in_place = {torch.ops.aten.baddbmm_: _accumulated_product}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        step()
    return float(counter.get_total_flops())


def convolution_rate(counted: Callable[[], None], timed: Callable[[], None]) -> float | None:
    """Operations per second of a step's convolutions, in the best try, counting only their time.

    None if compiled kernels compute no convolutions.

    Args:
        counted: the step with all operations called through torch, which counts them.
        timed: the same step as a run takes it.
    """
    with FlopCounterMode(display=False) as counter:
        counted()
    by_operation = counter.get_flop_counts().get("Global", {})
    operations = sum(by_operation.get(kernel, 0) for kernel in _KERNELS)
    return operations / min(_kernel_seconds(timed) for _ in range(_TRIES)) if operations else None


def _kernel_seconds(step: Callable[[], None]) -> float:
    """Seconds spent in the convolution kernels."""
    seconds = 0.0

    def clocked(*arguments: Any) -> None:
        nonlocal seconds
        began = time.perf_counter()
        run(*arguments)
        seconds += time.perf_counter() - began

    with patch("mamlbench.native.convolution.run", clocked):
        step()
    return seconds


def _of_convolution(images: Any, outputs: int, channels: int, grid: list[int]) -> int:
    """One multiplication and one addition for each value of each kernel at each place."""
    tasks, count = images[:2]
    down, across, kernel = grid[2:5]
    return 2 * int(tasks * count) * down * across * kernel**2 * outputs * channels


@register_flop_formula(_KERNELS[:2])
def _of_images_and_kernels(images: Any, weight: Any, *rest: Any, **_: Any) -> int:
    grid = next(part for part in rest if isinstance(part, list))
    return _of_convolution(images, weight[1], weight[-1], grid)


@register_flop_formula(_KERNELS[2])
def _of_images_and_maps(x: Any, y: Any, grid: list[int], **_: Any) -> int:
    return _of_convolution(x, y[-1], x[-1], grid)


def _accumulated_product(
    _: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...], *__: Any, **___: Any
) -> int:
    """Operations of `baddbmm_`, which torch's counter omits."""
    batches, rows, inner = a
    return 2 * batches * rows * inner * b[2]


def matmul_rate(hardware: Hardware) -> float:
    """Operations per second of a large float32 matrix product, the best of several tries."""
    a = torch.rand(2048, 2048, device=hardware.torch_device)
    b, c = torch.rand_like(a), torch.empty_like(a)
    return 2 * 2048**3 / _best(lambda: torch.mm(a, b, out=c))


def reached(
    matmul: float, operations: float, seconds: float, convolutions: float | None = None
) -> dict[str, float]:
    """How much of the machine's rate a step reaches, and its convolutions alone.

    Args:
        matmul: the machine's operations per second; see `matmul_rate`.
        operations: of the step.
        seconds: of the step.
        convolutions: operations per second of its convolutions alone; see `convolution_rate`.
    """
    rate = operations / seconds
    whole = {
        "gflop": operations / 1e9,
        "gflops": rate / 1e9,
        "matmul_gflops": matmul / 1e9,
        "of_matmul_rate": rate / matmul,
    }
    if convolutions is None:
        return whole
    return whole | {"convolutions_of_matmul_rate": convolutions / matmul}


def _best(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_TRIES):
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best
