"""mini-ImageNet: 100 classes of ImageNet, 600 pictures each, 84x84."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.pickles import pickled_pictures
from mamlbench.datasets.pictures import (
    FILTERS,
    Decoding,
    Picture,
    Source,
    class_folders,
    files_in,
    find,
    pictures_in,
)
from mamlbench.datasets.sampling import SPLITS
from mamlbench.datasets.store import ImageSet, data_root, fetch
from mamlbench.errors import UserError, one_of


class MiniImagenet(ImageDataset):
    """mini-ImageNet (Vinyals et al., arXiv 1606.04080), in the split of Ravi and Larochelle.

    64 classes to train, 16 to validate, 20 to test. ImageNet's terms allow no free download, so the
    pictures are taken as they come in `<root>/mini_imagenet`: `train`, `val` and `test` as folders
    or zips of class folders; or `images` (folder or zip) with the lists `train.csv`, `val.csv` and
    `test.csv`; or the pickles `mini-imagenet-cache-<split>.pkl` or
    `miniImageNet_category_split_<split>.pickle`, in which no code is run.

    Args:
        ways: N classes in a task.
        shots: K support images of each at meta-test.
        queries: Q query images of each at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        root: where datasets live (None: MAMLBENCH_DATA, or the platform's cache folder).
        resize: filter by which pictures of another size become 84x84.
        mean: subtracted from each channel of x in [0, 1] (None: nothing).
        std: by which each channel is divided then (None: nothing).

    Raises:
        BadValue: as `ImageDataset`, or an unknown filter.
    """

    counts: ClassVar[Mapping[str, tuple[int, int]]] = {
        "train": (64, 600),
        "val": (16, 600),
        "test": (20, 600),
    }
    """Classes of each split, and pictures of each class."""

    def __init__(
        self,
        ways: int = 5,
        shots: int = 1,
        queries: int = 15,
        train_shots: int | None = None,
        root: str | None = None,
        resize: str = "lanczos",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        one_of("resize", resize, FILTERS)
        self.resize = resize
        super().__init__(
            (3, 84, 84),
            ways,
            shots,
            queries,
            train_shots,
            root,
            mean=mean,
            std=std,
            known=self.counts,
        )

    @property
    @override
    def available(self) -> bool:
        try:
            return bool(_layout(data_root(self.root) / "mini_imagenet"))
        except UserError:
            return False

    @override
    def read(self, fresh: bool = False) -> ImageSet:
        root = data_root(self.root)
        files, read = _layout(root / "mini_imagenet")
        source = Source("mini_imagenet", files, lambda: self._checked(read))
        return fetch(source, Decoding(3, 84, 84, self.resize), root, fresh)

    def _checked(self, read: Callable[[str], dict[str, list[Picture]]]) -> dict[str, list[Picture]]:
        found: dict[str, list[Picture]] = {}
        for split, (classes, images) in self.counts.items():
            own = read(split)
            wrong = [name for name, pictures in own.items() if len(pictures) != images]
            if len(own) != classes or wrong:
                has = f"{wrong[0]} with {len(own[wrong[0]])}" if wrong else f"{len(own)} classes"
                accepted = f"{classes} classes of {images} pictures"
                raise UserError(f"mini_imagenet: {split} has {has}; accepted is {accepted}")
            found |= {f"{split}/{name}": pictures for name, pictures in own.items()}
        return found


_Layout = tuple[Callable[[], list[Path]], Callable[[str], dict[str, list[Picture]]]]


def _layout(folder: Path) -> _Layout:
    """The first layout of which all parts are there: its files, and how to read a split."""
    parts = {split: path for split in SPLITS if (path := find(folder, split))}
    if len(parts) == len(SPLITS):
        return (
            lambda: [file for part in parts.values() for file in files_in(part)],
            lambda split: class_folders(parts[split]),
        )
    images, lists = find(folder, "images"), [folder / f"{split}.csv" for split in SPLITS]
    if images and all(path.is_file() for path in lists):
        chosen = images
        return lambda: [*lists, *files_in(chosen)], lambda split: _by_list(folder, split, chosen)
    pickles = {split: path for split in SPLITS if (path := _pickle(folder, split))}
    if len(pickles) == len(SPLITS):
        return lambda: list(pickles.values()), lambda split: pickled_pictures(pickles[split])
    raise UserError(
        f"{folder}: mini-ImageNet is not there whole; its terms allow no download, so fetch it by "
        "hand and put there train, val and test as folders or zips of class folders, or images "
        "with train.csv, val.csv and test.csv, or mini-imagenet-cache-{train,val,test}.pkl"
    )


def _pickle(folder: Path, split: str) -> Path | None:
    # of the training classes there are three files; this one has the 600 pictures of each
    phase = "train_phase_train" if split == "train" else split
    names = (f"mini-imagenet-cache-{split}.pkl", f"miniImageNet_category_split_{phase}.pickle")
    return next((path for name in names if (path := folder / name).is_file()), None)


def _by_list(folder: Path, split: str, images: Path) -> dict[str, list[Picture]]:
    """The pictures that `<split>.csv` lists (columns filename, label)."""
    path = folder / f"{split}.csv"
    pictures = {parts[-1]: picture for parts, picture in pictures_in(images)}
    found: dict[str, list[Picture]] = {}
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["label"], []).append(pictures[row["filename"]])
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path}: no {error} in it or in {images}; accepted are the columns filename and "
            f"label, each file being in {images}"
        ) from error
    # by name, as they lie in folders: every layout then gives the same images in the same order
    return {name: sorted(found[name], key=lambda picture: picture.name) for name in sorted(found)}
