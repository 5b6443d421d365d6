"""The random numbers of each task, which depend only on (seed, split, index).

Every task owns a fixed stretch of one counter-based stream (Philox), so task i is the same for any
meta-batch size, on any number of devices, and after any resume; a batch of tasks is one read.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

from mamlbench.errors import UserError

SPLITS = ("train", "val", "test")
_WORDS_PER_COUNT = 4  # Philox gives four 64-bit words for each value of its counter


def task_words(seed: int, split: str, first: int, count: int, words: int) -> np.ndarray:
    """Raw random words of tasks `first` to `first + count - 1`, [count, words] uint64."""
    stretch = -(-words // _WORDS_PER_COUNT)
    stream = np.random.Philox(key=_key(seed, split))
    stream.advance(first * stretch)
    raw = stream.random_raw(count * stretch * _WORDS_PER_COUNT)
    return raw.reshape(count, stretch * _WORDS_PER_COUNT)[:, :words]


@lru_cache
def _key(seed: int, split: str) -> np.ndarray:
    entropy = np.random.SeedSequence([seed, zlib.crc32(split.encode())])
    return entropy.generate_state(2, np.uint64)


def to_uniform(words: np.ndarray) -> np.ndarray:
    """Convert 64-bit words to float64 in [0, 1), using their upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def choose(keys: np.ndarray, count: int, sizes: np.ndarray | None = None) -> np.ndarray:
    """Distinct indices in random order: uniform keys [..., n] give [..., count] of 0..n-1.

    `sizes` [...] limits each row to indices below its size; the others are never chosen.

    Raises:
        UserError: `count` is more than n, or than a row's size.
    """
    most = keys.shape[-1] if sizes is None else int(sizes.min(initial=keys.shape[-1]))
    if count > most:
        raise UserError(f"{count} rows to choose from {most}; accepted is {most} at most")
    if sizes is not None:
        absent = np.arange(keys.shape[-1]) >= sizes[..., None]
        keys = np.where(absent, np.inf, keys)
    if count < keys.shape[-1]:
        nearest = np.argpartition(keys, count - 1, axis=-1)[..., :count]
        order = np.argsort(np.take_along_axis(keys, nearest, -1), axis=-1)
        return np.take_along_axis(nearest, order, -1)
    return np.argsort(keys, axis=-1)


def choose_few(keys: np.ndarray, size: int) -> np.ndarray:
    """Distinct indices in random order: uniform keys [n] give [n] of 0..size-1, n <= size.

    The first n steps of a shuffle, for pools too large for one key per index, which `choose` needs.
    """
    moved: dict[int, int] = {}
    chosen = []
    for place, key in enumerate(keys):
        other = place + int(key * (size - place))
        chosen.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return np.array(chosen, dtype=np.int64)
