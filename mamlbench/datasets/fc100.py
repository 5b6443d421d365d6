"""FC100: the 100 classes of CIFAR-100, split by their superclasses, 32x32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from mamlbench.datasets.cifar100 import cifar100, fetched_cifar100
from mamlbench.datasets.pickles import pickled_pictures
from mamlbench.datasets.published_split import Layout, PublishedSplit, split_files, split_folders

_VAL = "large_carnivores large_omnivores_and_herbivores non-insect_invertebrates small_mammals"
_TEST = "aquatic_mammals insects medium_mammals people"
SPLIT_OF = dict.fromkeys(_VAL.split(), "val") | dict.fromkeys(_TEST.split(), "test")
"""The split of each superclass; superclasses not listed here are in train."""


class FC100(PublishedSplit):
    """FC100 (Oreshkin et al., arXiv 1805.10123): test classes belong to unseen superclasses.

    60 classes of 12 superclasses to train, 20 of 4 to validate, 20 of 4 to test, 600 pictures each.
    They are read from `<root>/fc100`: `train`, `val` and `test` as folders or zips of class
    folders; or the pickles `FC100_<split>.pickle`, whose code is never run. Otherwise they are made
    from CIFAR-100, which is downloaded to `<root>/cifar100` if it is missing.

    Its options are those of `PublishedSplit`.
    """

    name = "fc100"
    side = 32
    classes: ClassVar = {"train": 60, "val": 20, "test": 20}
    images = (600, 600)

    @override
    def layouts(self, folder: Path) -> Iterator[Layout | None]:
        yield split_folders(folder)
        yield split_files(folder, lambda split: [f"FC100_{split}.pickle"], pickled_pictures)
        yield cifar100(folder, _split)

    @override
    def fetched(self, folder: Path) -> Layout:
        return fetched_cifar100(folder, _split)


def _split(superclass: str, name: str) -> str:
    del name
    return SPLIT_OF.get(superclass, "train")
