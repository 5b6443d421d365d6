"""Random numbers of algorithms that sample: of each task its own, whatever batch it comes in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mamlbench.hardware.transfer import on_device
from mamlbench.tasks import Examples


def normal(examples: Examples, shape: Sequence[int], place: int, like: Tensor) -> Tensor:
    """Standard normal numbers [T, *shape], on the device and of the type of `like`.

    They depend on the seed of each task and on `place` alone: neither on the other tasks of a batch
    nor on what was drawn before, so that chunks of tasks, and a resumed run, draw the same.

    Args:
        examples: the support (or query) set whose `seeds` count; without seeds, 0 to T-1.
        shape: of one task's numbers.
        place: which draw of the algorithm this is.
        like: a tensor whose device and type the numbers shall have.
    """
    seeds = np.arange(len(examples)) if examples.seeds is None else examples.seeds
    return on_device(rows(seeds, shape, place), like.device).to(like.dtype)


def rows(seeds: Sequence[int] | np.ndarray, shape: Sequence[int], place: int) -> np.ndarray:
    """Standard normal numbers [T, *shape], float64, of T seeds; see `normal`.

    What a longer first dimension of `shape` adds comes after what there was without.
    """
    draws = [
        np.random.Generator(np.random.Philox(key=[int(seed), place])).standard_normal(tuple(shape))
        for seed in seeds
    ]
    return np.stack(draws)
