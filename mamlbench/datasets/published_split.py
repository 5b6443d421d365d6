"""Image datasets with a published split of their classes into train, val and test."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.pictures import (
    FILTERS,
    Decoding,
    Picture,
    Source,
    class_folders,
    files_in,
    find,
)
from mamlbench.datasets.sampling import SPLITS
from mamlbench.datasets.store import ImageSet, data_root, fetch
from mamlbench.errors import UserError, one_of
from mamlbench.words import number_of

Classes = dict[str, list[Picture]]
"""The pictures of each class, by the class's name."""


@dataclass(frozen=True)
class Layout:
    """One layout of a dataset on disk.

    Attributes:
        files: returns all files that its content depends on.
        read: returns a split's classes; raises `UserError` if something is missing or broken.
    """

    files: Callable[[], list[Path]]
    read: Callable[[str], Classes]


class PublishedSplit(ImageDataset):
    """Colour pictures with a fixed split of classes, in any of several layouts on disk.

    A subclass defines the class attributes below, and `layouts`. It reads from `<root>/<name>`.

    Args:
        ways: N classes in a task.
        shots: K support images of each at meta-test.
        queries: Q query images of each at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        root: where datasets live (None: MAMLBENCH_DATA, or the platform's cache folder).
        resize: filter that brings pictures of another size to the dataset's.
        mean: subtracted from each channel of x in [0, 1] (None: nothing).
        std: divides each channel after that (None: nothing).

    Raises:
        BadValue: as `ImageDataset`, or an unknown filter.
    """

    name: ClassVar[str]
    """Name of its folder and its cache."""
    side: ClassVar[int]
    """Height and width in pixels."""
    classes: ClassVar[Mapping[str, int]]
    """How many classes each split has."""
    images: ClassVar[tuple[int, int]]
    """Number of pictures in the smallest and in the largest class."""
    advice: ClassVar[str] = ""
    """What the user has to put there, if the dataset cannot be downloaded."""

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
        self.decoding = Decoding(3, self.side, self.side, resize)
        super().__init__(
            self.decoding.shape,
            ways,
            shots,
            queries,
            train_shots,
            root,
            mean=mean,
            std=std,
            known={split: (count, self.images[0]) for split, count in self.classes.items()},
        )

    @abstractmethod
    def layouts(self, folder: Path) -> Iterator[Layout | None]:
        """The known layouts, best first; None for a layout with missing files."""

    def fetched(self, folder: Path) -> Layout:
        """Download the dataset, as no layout was found; by default, no download is allowed.

        Raises:
            UserError: what to put there by hand, or that the download failed.
        """
        raise UserError(f"{folder}: {self.name} is missing or incomplete; {self.advice}")

    @property
    def _folder(self) -> Path:
        return data_root(self.root) / self.name

    def _layout(self) -> Layout | None:
        return next((layout for layout in self.layouts(self._folder) if layout), None)

    @property
    @override
    def available(self) -> bool:
        return self._layout() is not None

    @override
    def read(self, fresh: bool = False) -> ImageSet:
        layout = self._layout() or self.fetched(self._folder)
        source = Source(self.name, layout.files, lambda: self._checked(layout.read))
        return fetch(source, self.decoding, data_root(self.root), fresh)

    def _checked(self, read: Callable[[str], Classes]) -> Classes:
        """All classes, by `split/class`, after checking the numbers of classes and pictures."""
        found: Classes = {}
        split_of: dict[str, str] = {}
        low, high = self.images
        for split, classes in self.classes.items():
            own = read(split)
            wrong = [name for name, pictures in own.items() if not low <= len(pictures) <= high]
            if len(own) != classes or wrong:
                has = number_of(len(own), "class", "classes")
                if wrong:
                    has = f"{wrong[0]} with {number_of(len(own[wrong[0]]), 'picture')}"
                each = f"{low}" if low == high else f"{low} to {high}"
                accepted = f"{classes} classes of {each} pictures"
                raise UserError(f"{self.name}: {split} has {has}; accepted is {accepted}")
            for name in own:
                # numeric names start anew in each split, other names identify a class
                if not name.isdigit() and split_of.setdefault(name, split) != split:
                    both = f"{split_of[name]} and in {split}"
                    accepted = "accepted is one split"
                    raise UserError(f"{self.name}: class {name} is in {both}; {accepted}")
            found |= {f"{split}/{name}": pictures for name, pictures in own.items()}
        return found


def split_folders(folder: Path) -> Layout | None:
    """The layout of `train`, `val` and `test` as folders or zips of class folders."""
    parts = {split: path for split in SPLITS if (path := find(folder, split))}
    if len(parts) < len(SPLITS):
        return None
    return Layout(
        lambda: [file for part in parts.values() for file in files_in(part)],
        lambda split: class_folders(parts[split]),
    )


def split_files(
    folder: Path, names: Callable[[str], Sequence[str]], read: Callable[..., Classes]
) -> Layout | None:
    """The layout with a few files per split.

    Args:
        folder: where they are.
        names: gives their names, from the split's.
        read: gives the split's classes, from the paths of its files.
    """
    paths = {split: [folder / name for name in names(split)] for split in SPLITS}
    every = [path for own in paths.values() for path in own]
    if not all(path.is_file() for path in every):
        return None
    return Layout(lambda: every, lambda split: read(*paths[split]))
