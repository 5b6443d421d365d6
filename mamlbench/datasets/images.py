"""Few-shot image classification: all images are on the device, and task batches index them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from mamlbench.datasets.classes import ClassTasks
from mamlbench.datasets.sampling import SPLITS, choose, choose_few
from mamlbench.datasets.store import ImageSet
from mamlbench.errors import BadValue, UserError, one_of, require
from mamlbench.files import read_errors
from mamlbench.hardware.transfer import on_device
from mamlbench.tasks import Examples, TaskBatch
from mamlbench.words import number_of

ROTATIONS = ("none", "per_task", "classes")

_LARGE = 2000
"""For classes larger than this, a task needs random numbers only for the images that it uses."""


@dataclass(frozen=True)
class _Pool:
    """The classes of one split: the index of each one's first image, and its number of images."""

    first: np.ndarray
    size: np.ndarray

    @property
    def has_large(self) -> bool:
        """Whether one random number per image of a class would be too many."""
        return int(self.size.max()) > _LARGE


class ImageDataset(ClassTasks):
    """Tasks of N classes of images; see `ClassTasks`.

    A subclass defines where images come from (`read`) and which classes form a split
    (`split_classes`). The order of the support and query rows is random, and part of the task.

    Args:
        image_shape: channels, height, width.
        ways: N classes in a task.
        shots: K support images of each class at meta-test.
        queries: Q query images of each class at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        root: where datasets live (None: MAMLBENCH_DATA, or the platform's cache folder).
        rotations: `none`; `per_task`: rotate each class of a task by 0, 90, 180 or 270 degrees;
            `classes`: each of a class's four rotations is a class of its own.
        rotated: the splits to which `rotations` applies.
        invert: dark becomes light: x = 1 - pixel / 255.
        mean: subtracted from each channel of x.
        std: divides each channel after that.
        known: classes and images per class of each split, if known before reading.

    Raises:
        BadValue: a value out of range, more ways than classes, more images than a class has.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        ways: int,
        shots: int,
        queries: int,
        train_shots: int | None,
        root: str | None,
        rotations: str = "none",
        rotated: Sequence[str] = ("train",),
        invert: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        known: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(ways, shots, queries, train_shots)
        one_of("rotations", rotations, ROTATIONS)
        for option, values in (("mean", mean), ("std", std)):
            fits = values is None or len(values) == image_shape[0]
            require(fits, option, values, f"null, or {image_shape[0]} numbers, one per channel")
            require(all(map(math.isfinite, values or ())), option, values, "null or finite numbers")
        require(all(value > 0 for value in std or ()), "std", std, "null, or numbers above 0")
        self.input_shape, self.root, self.invert = image_shape, root, invert
        self.rotations = rotations
        self.rotated = tuple(rotated) if rotations != "none" else ()
        self._mean, self._std = mean, std
        self._pools: dict[str, _Pool] = {}
        turned = 4 if rotations == "classes" else 1
        self._sizes = {
            split: (classes * (turned if split in self.rotated else 1), images)
            for split, (classes, images) in (known or {}).items()
        }
        self.check_splits()

    @property
    @override
    def sha256(self) -> str | None:
        return self._sha256

    @property
    @abstractmethod
    def available(self) -> bool:
        """Whether the pictures are there, without looking inside them."""

    @abstractmethod
    def read(self, fresh: bool = False) -> ImageSet:
        """All images, from the cache if it has them; `fresh` hashes the source files again.

        Raises:
            UserError: what is missing or broken, and what to do about it.
        """

    def split_classes(self, images: ImageSet) -> dict[str, np.ndarray]:
        """The class numbers of each split: splits are disjoint and do not depend on a seed.

        By default, classes are named `split/class`.
        """
        splits = np.array([name.split("/")[0] for name in images.classes])
        return {split: np.flatnonzero(splits == split) for split in SPLITS}

    @override
    def content(self) -> str | None:
        try:
            with read_errors():
                return self.read().sha256 if self.available else None
        except UserError:
            return None

    @override
    def examples_in_words(self, shots: int, queries: int | str) -> str:
        sizes = self._pools["test"].size if "test" in self._pools else np.zeros(1)
        if queries == "all remaining" and sizes.min() < sizes.max():
            left = number_of(self.remaining("test", shots), "query", "queries")
            return f"{number_of(shots, 'shot')}, {left} per class, all that the smallest class has"
        return super().examples_in_words(shots, queries)

    def describe(self, images: ImageSet) -> list[str]:
        """The contents of each split, one line per split."""
        counts, lines = np.asarray(images.counts), []
        for split, classes in self.split_classes(images).items():
            if len(classes):
                low, high = counts[classes].min(), counts[classes].max()
                each = f"{low}" if low == high else f"{low} to {high}"
                lines.append(f"{split:<5} {len(classes)} classes of {each} images")
        return lines

    @override
    def load(self, device: torch.device) -> None:
        with read_errors():
            images = self.read()
        self._sha256 = images.sha256
        first = np.cumsum([0, *images.counts[:-1]])
        counts, total = np.asarray(images.counts), int(sum(images.counts))
        for split, classes in self.split_classes(images).items():
            turns = 4 if self.rotations == "classes" and split in self.rotated else 1
            begin = (first[classes][:, None] + total * np.arange(turns)).reshape(-1)
            self._pools[split] = _Pool(begin, np.repeat(counts[classes], turns))
            self._sizes[split] = (len(begin), 0)
            if len(classes):
                smallest = classes[counts[classes].argmin()]
                self._sizes[split] = (len(begin), images.counts[smallest])
                if counts[classes].max() > counts[smallest]:
                    self._smallest[split] = images.classes[smallest]
        try:
            self.check_splits()
        except BadValue as error:
            raise error.under("dataset") from error
        self._total = total
        self._pixels = self._on_device(images.images, device)

    def _on_device(self, images: np.ndarray, device: torch.device) -> Tensor:
        pixels = torch.from_numpy(images).to(device)
        if self.invert:
            pixels = 255 - pixels
        if self.rotated:
            # all rotations are kept, so that a rotated batch costs no more than an unrotated one
            pixels = torch.cat([torch.rot90(pixels, turn, (2, 3)) for turn in range(4)])
        return pixels

    @override
    def words(self, split: str, shots: int, queries: int) -> int:
        self.check(split, shots, queries)
        return sum(self._stretches(split, shots, queries))

    def _stretches(self, split: str, shots: int, queries: int) -> list[int]:
        """How many random numbers choose classes, images, rotations, support and query order."""
        pool = self._pools.get(split)
        if pool is None:
            raise RuntimeError("call load() before sample()")
        if not len(pool.first):
            raise UserError(f"split {split}: this dataset has no classes for it")
        turns = self.ways if self._turns(split) else 0
        members = self.ways * (shots + queries if pool.has_large else int(pool.size.max()))
        return [len(pool.first), members, turns, self.ways * shots, self.ways * queries]

    def _turns(self, split: str) -> bool:
        return self.rotations == "per_task" and split in self.rotated

    @override
    def make(self, split: str, u: np.ndarray, shots: int, queries: int) -> TaskBatch:
        pool, tasks = self._pools[split], len(u)
        ends = np.cumsum(self._stretches(split, shots, queries))
        class_keys, image_keys, turn, support_keys, query_keys, _ = np.split(u, ends, axis=1)
        classes = choose(class_keys, self.ways)
        image_keys = image_keys.reshape(tasks, self.ways, -1)
        if pool.has_large:
            rows = np.empty_like(image_keys, dtype=np.int64)
            for at in product(range(tasks), range(self.ways)):
                rows[at] = choose_few(image_keys[at], int(pool.size[classes[at]]))
        else:
            rows = choose(image_keys, shots + queries, pool.size[classes])
        rows = rows + pool.first[classes][..., None]
        if self._turns(split):
            rows = rows + self._total * np.floor(4 * turn).astype(np.int64)[..., None]
        support = self._shuffled(rows[..., :shots], support_keys)
        query = self._shuffled(rows[..., shots:], query_keys)
        return TaskBatch(support, query, {"classes": classes})

    def _shuffled(self, rows: np.ndarray, keys: np.ndarray) -> Examples:
        """Examples from image numbers [T, N, M/N], in the order of keys [T, M]."""
        order = np.argsort(keys, axis=1)
        rows = np.take_along_axis(rows.reshape(len(rows), -1), order, axis=1)
        labels = order // max(1, keys.shape[1] // self.ways)
        where, y = on_device(np.stack([rows, labels]), self._pixels.device)
        return Examples(self.inputs(where), y)

    def inputs(self, where: Tensor) -> Tensor:
        """The task inputs [T, M, *input_shape], from the images at `where` [T, M]."""
        x = self._pixels.index_select(0, where.reshape(-1)).float().div_(255)
        if self._mean is not None:
            x.sub_(self._of_channels(self._mean))
        if self._std is not None:
            x.div_(self._of_channels(self._std))
        return x.view(*where.shape, *self.input_shape)

    def _of_channels(self, values: Sequence[float]) -> Tensor:
        return on_device(np.array(values, np.float32), self._pixels.device).view(-1, 1, 1)
