"""mini-ImageNet: 100 classes of ImageNet, 600 pictures each, 84x84."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from mamlbench.datasets.pickles import pickled_pictures
from mamlbench.datasets.pictures import files_in, find, pictures_in
from mamlbench.datasets.published_split import (
    Classes,
    Layout,
    PublishedSplit,
    split_files,
    split_folders,
)
from mamlbench.datasets.sampling import SPLITS
from mamlbench.errors import UserError


class MiniImagenet(PublishedSplit):
    """mini-ImageNet (Vinyals et al., arXiv 1606.04080), in the split of Ravi and Larochelle.

    64 classes to train, 16 to validate, 20 to test. ImageNet's terms allow no free download, so the
    user puts the pictures into `<root>/mini_imagenet`: `train`, `val` and `test` as folders or zips
    of class folders; or `images` (folder or zip) with the lists `train.csv`, `val.csv` and
    `test.csv`; or the pickles `mini-imagenet-cache-<split>.pkl` or
    `miniImageNet_category_split_<split>.pickle`, whose code is never run.

    Its options are those of `PublishedSplit`.
    """

    name = "mini_imagenet"
    side = 84
    classes: ClassVar = {"train": 64, "val": 16, "test": 20}
    images = (600, 600)
    advice = (
        "its terms allow no download, so fetch it by hand and put one of these there: train, val "
        "and test as folders or zips of class folders; images with train.csv, val.csv and "
        "test.csv; mini-imagenet-cache-{train,val,test}.pkl"
    )

    @override
    def layouts(self, folder: Path) -> Iterator[Layout | None]:
        yield split_folders(folder)
        yield _lists(folder)
        yield split_files(folder, lambda s: [f"mini-imagenet-cache-{s}.pkl"], pickled_pictures)
        yield split_files(folder, lambda s: [_category_split(s)], pickled_pictures)


def _category_split(split: str) -> str:
    # the training classes have three files; this one holds all 600 pictures of each class
    phase = "train_phase_train" if split == "train" else split
    return f"miniImageNet_category_split_{phase}.pickle"


def _lists(folder: Path) -> Layout | None:
    images, lists = find(folder, "images"), [folder / f"{split}.csv" for split in SPLITS]
    if images is None or not all(path.is_file() for path in lists):
        return None
    chosen = images
    return Layout(
        lambda: [*lists, *files_in(chosen)], lambda split: _by_list(folder, split, chosen)
    )


def _by_list(folder: Path, split: str, images: Path) -> Classes:
    """The pictures that `<split>.csv` lists (columns filename, label)."""
    path = folder / f"{split}.csv"
    pictures = {parts[-1]: picture for parts, picture in pictures_in(images)}
    found: Classes = {}
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["label"] is None:  # the line is too short
                    raise KeyError(f"label of {row['filename']}")
                found.setdefault(row["label"], []).append(pictures[row["filename"]])
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        reason = f"no {error} in it or in {images}" if isinstance(error, KeyError) else f"{error}"
        raise UserError(
            f"{path}: {reason}; accepted are the columns filename and label, with each file in "
            f"{images}"
        ) from error
    # sorted by name, as in folders: every layout then gives the same images in the same order
    return {name: sorted(found[name], key=lambda picture: picture.name) for name in sorted(found)}
