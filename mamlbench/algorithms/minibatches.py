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
"""The examples of inner step s at these parameters; called once for each step, in order."""


def batches_of(support: Support, size: int | None, steps: int, replacement: bool) -> Batches:
    """The examples of each inner step: `minibatches`, or all of a support set gathered anew."""
    if not isinstance(support, Examples):
        return support
    batches = minibatches(support, size, steps, replacement)
    return lambda step, params: next(batches)


def with_last(batches: Batches, steps: int, last: Examples) -> Batches:
    """The same batches, except that the last of `steps` steps takes `last`."""
    return lambda step, params: last if step == steps - 1 else batches(step, params)


def minibatches(
    support: Examples, size: int | None, steps: int, replacement: bool
) -> Iterator[Examples]:
    """`steps` mini-batches, x [T, size, ...]; a size of None or at least M gives all M examples.

    Without replacement they cycle through the shuffled set, which is reshuffled after each pass; a
    mini-batch may span two passes. With replacement, each is drawn from the whole set, no example
    twice in it (as in openai/supervised-reptile). Draws depend only on the support set's seeds.
    """
    examples = support.x.shape[1]
    if size is None or size >= examples:
        for _ in range(steps):
            yield support
        return
    seeds = np.arange(len(support)) if support.seeds is None else support.seeds
    order_of = _drawn_anew if replacement else _in_cycles
    rows = np.stack([order_of(int(seed), examples, size, steps) for seed in seeds])
    rows += np.arange(len(support))[:, None] * examples  # as row numbers over all tasks
    order = on_device(rows, support.x.device)
    for step in range(steps):
        chosen = order[:, step * size : (step + 1) * size]
        yield Examples(_rows(support.x, chosen), _rows(support.y, chosen))


def _rows(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Rows [T, size] of values, numbered over all T * M; several times faster than x[i, j]."""
    return values.flatten(0, 1).index_select(0, chosen.flatten()).unflatten(0, chosen.shape)


def _in_cycles(seed: int, examples: int, size: int, steps: int) -> np.ndarray:
    count = size * steps
    return _shuffles(seed, examples, -(-count // examples)).reshape(-1)[:count]


def _drawn_anew(seed: int, examples: int, size: int, steps: int) -> np.ndarray:
    return _shuffles(seed, examples, steps)[:, :size].reshape(-1)


def _shuffles(seed: int, examples: int, count: int) -> np.ndarray:
    random = np.random.Generator(np.random.Philox(seed))
    return random.permuted(np.tile(np.arange(examples), (count, 1)), axis=1)
