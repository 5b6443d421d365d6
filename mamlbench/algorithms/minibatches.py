"""Mini-batches of a support set, for inner loops that do not take all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from mamlbench.algorithms.adapted import Support
from mamlbench.hardware.transfer import on_device
from mamlbench.networks.base import Params
from mamlbench.tasks import Examples

Batches = Callable[[int, Params], Examples]
"""What inner step s learns from, at these parameters; to be asked for each step once, in order."""


def batches_of(support: Support, size: int | None, steps: int, replacement: bool) -> Batches:
    """What each inner step learns from: `minibatches`, or where it is gathered anew, all of it."""
    if not isinstance(support, Examples):
        return support
    batches = minibatches(support, size, steps, replacement)
    return lambda step, params: next(batches)


def with_last(batches: Batches, steps: int, last: Examples) -> Batches:
    """The same, but for the last of so many steps."""
    return lambda step, params: last if step == steps - 1 else batches(step, params)


def minibatches(
    support: Examples, size: int | None, steps: int, replacement: bool
) -> Iterator[Examples]:
    """`steps` mini-batches, x [T, size, ...]; None, or M or more, gives all M examples each time.

    Without replacement they cycle through the shuffled set, shuffled anew each time it is through;
    a mini-batch may straddle that. With it, each is drawn from the whole set by itself, no example
    twice (as in openai/supervised-reptile). It all depends on the support set's seeds alone.
    """
    examples = support.x.shape[1]
    if size is None or size >= examples:
        for _ in range(steps):
            yield support
        return
    seeds = np.arange(len(support)) if support.seeds is None else support.seeds
    order_of = _drawn_anew if replacement else _in_cycles
    rows = np.stack([order_of(int(seed), examples, size, steps) for seed in seeds])
    rows += np.arange(len(support))[:, None] * examples  # among those of all tasks
    order = on_device(rows, support.x.device)
    for step in range(steps):
        chosen = order[:, step * size : (step + 1) * size]
        yield Examples(_rows(support.x, chosen), _rows(support.y, chosen))


def _rows(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Of values [T, M, ...] rows [T, size] of all T * M; several times quicker than x[i, j]."""
    return values.flatten(0, 1).index_select(0, chosen.flatten()).unflatten(0, chosen.shape)


def _in_cycles(seed: int, examples: int, size: int, steps: int) -> np.ndarray:
    count = size * steps
    return _shuffles(seed, examples, -(-count // examples)).reshape(-1)[:count]


def _drawn_anew(seed: int, examples: int, size: int, steps: int) -> np.ndarray:
    return _shuffles(seed, examples, steps)[:, :size].reshape(-1)


def _shuffles(seed: int, examples: int, count: int) -> np.ndarray:
    random = np.random.Generator(np.random.Philox(seed))
    return random.permuted(np.tile(np.arange(examples), (count, 1)), axis=1)
