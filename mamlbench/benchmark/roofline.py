"""How near a step comes to what the machine can do: arithmetic counted, rates measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mamlbench.hardware import Hardware


def arithmetic(step: Callable[[], None]) -> float:
    """Floating-point operations of the matrix products and convolutions in one step."""
    in_place = {torch.ops.aten.baddbmm_: _accumulated_product}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        step()
    return float(counter.get_total_flops())


def _accumulated_product(
    _: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...], *__: Any, **___: Any
) -> int:
    """Operations of `baddbmm_`, which torch's counter leaves out."""
    batches, rows, inner = a
    return 2 * batches * rows * inner * b[2]


@dataclass(frozen=True)
class Machine:
    """What the machine reaches at its best.

    Attributes:
        matmul: operations a second in one large matrix product of float32.
        memory: bytes a second read and written in adding two arrays that fit in no cache.
    """

    matmul: float
    memory: float

    @classmethod
    def measured(cls, hardware: Hardware) -> Machine:
        """The best of several tries each, with the threads that torch has now."""
        device = hardware.torch_device
        a = torch.rand(2048, 2048, device=device)
        b, c = torch.rand_like(a), torch.empty_like(a)
        matmul = 2 * 2048**3 / _best(lambda: torch.mm(a, b, out=c))
        x = torch.rand(2**25, device=device)
        y, z = torch.rand_like(x), torch.empty_like(x)
        memory = 3 * 4 * 2**25 / _best(lambda: torch.add(x, y, out=z))
        return cls(matmul, memory)

    def reached(self, operations: float, seconds: float) -> dict[str, float]:
        """What a step of so many operations and seconds makes of it."""
        rate = operations / seconds
        return {
            "gflop": operations / 1e9,
            "gflops": rate / 1e9,
            "of_matmul_rate": rate / self.matmul,
        }

    def __str__(self) -> str:
        return (
            f"machine: matrix products {self.matmul / 1e9:.0f} GFLOP/s, "
            f"memory {self.memory / 1e9:.1f} GB/s, {torch.get_num_threads()} threads"
        )


def _best(work: Callable[[], object], tries: int = 8) -> float:
    best = float("inf")
    for _ in range(tries):
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best
