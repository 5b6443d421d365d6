"""CIFAR-FS: the 100 classes of CIFAR-100, split for few-shot learning, 32x32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from mamlbench.datasets.cifar100 import cifar100, fetched_cifar100
from mamlbench.datasets.pickles import pickled_pictures
from mamlbench.datasets.pictures import class_folders, files_in
from mamlbench.datasets.published_split import (
    Classes,
    Layout,
    PublishedSplit,
    split_files,
    split_folders,
)
from mamlbench.datasets.sampling import SPLITS
from mamlbench.errors import UserError

_VAL = (
    "beaver beetle butterfly camel cattle crab crocodile flatfish lamp maple_tree motorcycle otter "
    "sea shark television tractor"
)
_TEST = (
    "baby bed bicycle chimpanzee fox leopard man pickup_truck plain poppy rocket rose snail "
    "sweet_pepper table telephone wardrobe whale woman worm"
)
SPLIT_OF = dict.fromkeys(_VAL.split(), "val") | dict.fromkeys(_TEST.split(), "test")
"""The split of each class; classes not listed here are in train."""


class CifarFS(PublishedSplit):
    """CIFAR-FS (Bertinetto et al., arXiv 1805.08136): classes split at random.

    64 classes to train, 16 to validate, 20 to test, 600 pictures each. They are read from
    `<root>/cifar_fs`: the authors' `data/<class>/*.png` with `splits/bertinetto/<split>.txt`; or
    `train`, `val` and `test` as folders or zips of class folders; or the pickles
    `CIFAR_FS_<split>.pickle`, whose code is never run. Otherwise they are made from CIFAR-100,
    which is downloaded to `<root>/cifar100` if it is missing.

    Its options are those of `PublishedSplit`.
    """

    name = "cifar_fs"
    side = 32
    classes: ClassVar = {"train": 64, "val": 16, "test": 20}
    images = (600, 600)

    @override
    def layouts(self, folder: Path) -> Iterator[Layout | None]:
        yield _bertinetto(folder) or _bertinetto(folder / "cifar100")
        yield split_folders(folder)
        yield split_files(folder, lambda split: [f"CIFAR_FS_{split}.pickle"], pickled_pictures)
        yield cifar100(folder, _split)

    @override
    def fetched(self, folder: Path) -> Layout:
        return fetched_cifar100(folder, _split)


def _split(superclass: str, name: str) -> str:
    del superclass
    return SPLIT_OF.get(name, "train")


def _bertinetto(folder: Path) -> Layout | None:
    """Layout `data/<class>/*.png`, with each split's classes in `splits/bertinetto/<split>.txt`."""
    data = folder / "data"
    lists = {split: folder / "splits" / "bertinetto" / f"{split}.txt" for split in SPLITS}
    if not (data.is_dir() and all(path.is_file() for path in lists.values())):
        return None

    def read(split: str) -> Classes:
        found = class_folders(data)
        try:
            names = lists[split].read_text(encoding="utf-8").split()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{lists[split]}: {error}; accepted are class names in UTF-8"
            ) from error
        missing = [name for name in names if name not in found]
        if missing:
            raise UserError(f"{lists[split]}: class {missing[0]} has no pictures in {data}")
        return {name: found[name] for name in sorted(names)}

    return Layout(lambda: [*lists.values(), *files_in(data)], read)
