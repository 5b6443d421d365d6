"""Random numbers for algorithms that sample: each task has its own, whatever its batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mamlbench.hardware.transfer import on_device
from mamlbench.tasks import Examples


def normal(examples: Examples, shape: Sequence[int], place: int, like: Tensor) -> Tensor:
    """Standard normal numbers [T, *shape], with the device and dtype of `like`.

    They depend only on each task's seed and on `place`, not on the batch's other tasks or on
    earlier draws, so splitting a batch into chunks or resuming a run does not change them.

    Args:
        examples: the support (or query) set whose `seeds` to use; without seeds, 0 to T-1.
        shape: shape of one task's numbers.
        place: number of this draw within the algorithm.
        like: a tensor with the device and dtype that the result should have.
    """
    seeds = np.arange(len(examples)) if examples.seeds is None else examples.seeds
    return on_device(rows(seeds, shape, place), like.device).to(like.dtype)


def rows(seeds: Sequence[int] | np.ndarray, shape: Sequence[int], place: int) -> np.ndarray:
    """Standard normal numbers [T, *shape], float64, from T seeds; see `normal`.

    A longer first dimension of `shape` appends numbers and leaves the earlier ones as they are.
    """
    draws = [
        np.random.Generator(np.random.Philox(key=[int(seed), place])).standard_normal(tuple(shape))
        for seed in seeds
    ]
    return np.stack(draws)
