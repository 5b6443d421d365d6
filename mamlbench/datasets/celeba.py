"""CelebA: binary tasks from the attributes of faces, ambiguous at meta-test."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from typing_extensions import override

from mamlbench.datasets.celeba_files import ATTRIBUTES, bits, bits_of_images, by_attributes
from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.pictures import FILTERS, Decoding, Source, files_in, find
from mamlbench.datasets.sampling import SPLITS, choose_few
from mamlbench.datasets.store import ImageSet, data_root, fetch
from mamlbench.errors import BadValue, UserError, one_of, require
from mamlbench.tasks import TaskBatch

_VAL = "Wearing_Necklace Smiling Pale_Skin Wearing_Necktie Big_Nose"
_TEST = (
    "Straight_Hair 5_o_Clock_Shadow Wearing_Hat Gray_Hair Heavy_Makeup Young Blurry Double_Chin "
    "Mouth_Slightly_Open No_Beard"
)


@dataclass(frozen=True)
class _Draw:
    """`count` images that have all attributes in `has` and none in `lacks`, both as bits."""

    has: int
    lacks: int
    count: int

    def matches(self, attributes: np.ndarray) -> np.ndarray:
        """Which images, given their attributes [n] as bits, may be drawn: [n] of bool."""
        matched: np.ndarray = (attributes & (self.has | self.lacks)) == self.has
        return matched

    def apart(self, other: _Draw) -> bool:
        """Whether no image can match both."""
        return bool(self.has & other.lacks or other.has & self.lacks)


class CelebA(ImageDataset):
    """Attribute tasks of CelebA (Liu et al., arXiv 1411.7766), as in PLATIPUS (arXiv 1806.02817).

    A task is 2-way: its positives (class 1) share two attributes, its negatives (class 0) have
    neither. An ambiguous task's support positives share three attributes and its negatives have
    none of them, so any two of the three explain the support set. Its queries come from the three
    possible tasks, Q per class from each; `info["possible"]` [T, M] says from which one. Each
    attribute belongs to one split only. No image occurs twice in a task.

    All splits draw from all images: the official partition is ignored.

    The official files are read from `<root>/celeba`: `img_align_celeba` as a folder or zip, and
    `list_attr_celeba.txt`.

    Args:
        shots: K support images of each class at meta-test.
        queries: Q query images of each class at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        root: where datasets live (None: MAMLBENCH_DATA, or the platform's cache folder).
        val_attributes: the attributes of meta-validation.
        test_attributes: the attributes of meta-test; all others belong to meta-training.
        ambiguous: the splits whose tasks are ambiguous.
        third: whether the queries of a possible task all lack the third attribute (`absent`), or
            may have it (`free`).
        image_size: height and width in pixels.
        resize: filter that stretches the aligned 178x218 pictures to that size.

    Raises:
        BadValue: a value out of range, an unknown attribute, or an attribute in two splits.
    """

    def __init__(
        self,
        shots: int = 5,
        queries: int = 15,
        train_shots: int | None = None,
        root: str | None = None,
        val_attributes: tuple[str, ...] = tuple(_VAL.split()),
        test_attributes: tuple[str, ...] = tuple(_TEST.split()),
        ambiguous: tuple[str, ...] = ("val", "test"),
        third: str = "absent",
        image_size: int = 84,
        resize: str = "lanczos",
    ) -> None:
        require(1 <= image_size <= 218, "image_size", image_size, "1 to 218 pixels")
        one_of("resize", resize, FILTERS)
        one_of("third", third, ("absent", "free"))
        for split in ambiguous:
            one_of("ambiguous", split, SPLITS)
        self.attributes = _attributes_by_split(val_attributes, test_attributes, ambiguous)
        self.ambiguous, self.third = ambiguous, third
        self.decoding = Decoding(3, image_size, image_size, resize)
        super().__init__(self.decoding.shape, 2, shots, queries, train_shots, root)
        self._eligible: dict[tuple[str, int, int], list[tuple[str, ...]]] = {}
        self._counts: dict[tuple[int, int], int] = {}

    @property
    def _folder(self) -> Path:
        return data_root(self.root) / "celeba"

    @property
    def _table(self) -> Path:
        return self._folder / "list_attr_celeba.txt"

    @property
    @override
    def available(self) -> bool:
        return find(self._folder, "img_align_celeba") is not None and self._table.is_file()

    @override
    def read(self, fresh: bool = False) -> ImageSet:
        """All images; images with the same attributes form a class, named by these attributes."""
        pictures = find(self._folder, "img_align_celeba")
        if pictures is None or not self.available:
            raise UserError(
                f"{self._folder}: CelebA is missing or incomplete; its terms allow no download, "
                "so fetch it from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put "
                f"img_align_celeba (folder or zip) and {self._table.name} there"
            )
        source = Source(
            "celeba_attributes",
            files=lambda: [self._table, *files_in(pictures)],
            read=lambda: by_attributes(pictures, self._table),
        )
        return fetch(source, self.decoding, data_root(self.root), fresh)

    @override
    def describe(self, images: ImageSet) -> list[str]:
        count = sum(images.counts)
        return [
            f"{split:<5} {len(self.attributes[split])} attributes, {count} images"
            for split in SPLITS
        ]

    @override
    def load(self, device: torch.device) -> None:
        images = self.read()
        self._sha256 = images.sha256
        self._bits = bits_of_images(images)
        self._eligible.clear()
        self._counts.clear()
        self._pixels = self._on_device(images.images, device)
        self._combinations("train", self.train_shots, self.queries)

    @override
    def remaining(self, split: str, shots: int) -> int:
        raise BadValue("queries", "remaining", "a number: attributes differ in their image counts")

    @override
    def examples_in_words(self, shots: int, queries: int | str) -> str:
        words = super().examples_in_words(shots, queries)
        return f"{words} of each possible task" if "test" in self.ambiguous else words

    @override
    def words(self, split: str, shots: int, queries: int) -> int:
        draws = self._draws(split, self._combinations(split, shots, queries)[0], shots, queries)
        # one for the attributes; then per row, one for its image and one for its place
        return 1 + 2 * sum(draw.count for draw in draws)

    @override
    def make(self, split: str, u: np.ndarray, shots: int, queries: int) -> TaskBatch:
        combinations = self._combinations(split, shots, queries)
        chosen = [combinations[int(key * len(combinations))] for key in u[:, 0]]
        rows = (u.shape[1] - 1) // 2
        parts = [
            self._rows(self._draws(split, attributes, shots, queries), keys)
            for attributes, keys in zip(chosen, u[:, 1 : 1 + rows], strict=True)
        ]
        support, query = (np.stack(side) for side in zip(*parts, strict=True))
        support_keys, query_keys = np.split(u[:, 1 + rows :], [2 * shots], axis=1)
        numbers = [[ATTRIBUTES.index(name) for name in names] for names in chosen]
        info = {"attributes": np.array(numbers)}
        if split in self.ambiguous:
            # in the final row order; `place` is before the shuffle, Q rows per possible task
            place = np.argsort(query_keys, axis=1) % max(1, query.shape[2])
            info["possible"] = place // max(1, queries)
        return TaskBatch(
            self._shuffled(support, support_keys), self._shuffled(query, query_keys), info
        )

    def _draws(
        self, split: str, attributes: tuple[str, ...], shots: int, queries: int
    ) -> list[_Draw]:
        """All draws of a task: support, then queries of each possible task; class 0 comes first."""
        every = bits(attributes)
        draws = [_Draw(0, every, shots), _Draw(every, 0, shots)]
        for pair in itertools.combinations(attributes, 2):
            both = bits(pair)
            third = every & ~both if self.third == "absent" else 0
            draws += [_Draw(0, both | third, queries), _Draw(both, third, queries)]
        return draws

    def _rows(self, draws: list[_Draw], keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image numbers of one task by class: support [2, K] and query [2, possible tasks * Q]."""
        free = np.ones(len(self._bits), dtype=bool)
        drawn = []
        ends = np.cumsum([draw.count for draw in draws])[:-1]
        for draw, own in zip(draws, np.split(keys, ends), strict=True):
            pool = np.flatnonzero(draw.matches(self._bits) & free)
            drawn.append(pool[choose_few(own, len(pool))])
            free[drawn[-1]] = False
        by_class = np.concatenate(drawn[2::2]), np.concatenate(drawn[3::2])
        return np.stack(drawn[:2]), np.stack(by_class)

    def _combinations(self, split: str, shots: int, queries: int) -> list[tuple[str, ...]]:
        """All combinations of two or three attributes that have enough images for a task."""
        key = (split, shots, queries)
        if key not in self._eligible:
            size = 3 if split in self.ambiguous else 2
            self._eligible[key] = [
                attributes
                for attributes in itertools.combinations(self.attributes[split], size)
                if self._enough(self._draws(split, attributes, shots, queries))
            ]
            if not self._eligible[key]:
                raise UserError(
                    f"celeba: no {size} attributes of {split} have enough images for {shots} shots "
                    f"and {queries} queries per class"
                )
        return self._eligible[key]

    def _enough(self, draws: list[_Draw]) -> bool:
        """Whether each draw has enough images left, whichever ones the earlier draws took."""
        for number, draw in enumerate(draws):
            needed = sum(other.count for other in draws[: number + 1] if not draw.apart(other))
            key = (draw.has, draw.lacks)
            if key not in self._counts:
                self._counts[key] = int(np.count_nonzero(draw.matches(self._bits)))
            if self._counts[key] < needed:
                return False
        return True


def _attributes_by_split(
    val: tuple[str, ...], test: tuple[str, ...], ambiguous: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    rest = tuple(name for name in ATTRIBUTES if name not in (*val, *test))
    found = {"train": rest, "val": val, "test": test}
    for split, names in found.items():
        option = "val_attributes" if split == "val" else "test_attributes"
        least = 3 if split in ambiguous else 2
        for name in names:
            one_of(option, name, ATTRIBUTES)
        require(len(names) >= least, option, list(names), f"{least} attributes or more for {split}")
        require(len(set(names)) == len(names), option, list(names), "each attribute once")
    twice = set(val) & set(test)
    require(not twice, "test_attributes", list(test), "attributes not in val_attributes")
    return found
