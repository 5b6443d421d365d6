"""Image datasets whose classes were divided into train, val and test once, for everybody."""

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

Classes = dict[str, list[Picture]]
"""The pictures of each class, by the class's name."""


@dataclass(frozen=True)
class Layout:
    """A dataset as it lies on disk.

    Attributes:
        files: all files that decide its content.
        read: the classes of a split; raises `UserError` where something is missing or broken.
    """

    files: Callable[[], list[Path]]
    read: Callable[[str], Classes]


class PublishedSplit(ImageDataset):
    """Colour pictures with a fixed split of classes, in any of the layouts they are passed on in.

    A subclass gives the facts below, and `layouts`. It reads from `<root>/<name>`.

    Args:
        ways: N classes in a task.
        shots: K support images of each at meta-test.
        queries: Q query images of each at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        root: where datasets live (None: MAMLBENCH_DATA, or the platform's cache folder).
        resize: filter by which pictures of another size get the dataset's.
        mean: subtracted from each channel of x in [0, 1] (None: nothing).
        std: by which each channel is divided then (None: nothing).

    Raises:
        BadValue: as `ImageDataset`, or an unknown filter.
    """

    name: ClassVar[str]
    """Of its folder and its cache."""
    side: ClassVar[int]
    """Height and width in pixels."""
    classes: ClassVar[Mapping[str, int]]
    """How many classes each split has."""
    images: ClassVar[tuple[int, int]]
    """Pictures of the smallest and of the largest class."""
    advice: ClassVar[str] = ""
    """What to put there by hand, where it cannot be downloaded."""

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
        """The layouts that are known, best first; None for one of which parts are missing."""

    def fetched(self, folder: Path) -> Layout:
        """The dataset, downloaded because no layout is there; here nothing may be downloaded.

        Raises:
            UserError: what to put there by hand, or that the download failed.
        """
        raise UserError(f"{folder}: {self.name} is not there whole; {self.advice}")

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
        """All classes, by `split/class`, once their numbers are found to be right."""
        found: Classes = {}
        split_of: dict[str, str] = {}
        low, high = self.images
        for split, classes in self.classes.items():
            own = read(split)
            wrong = [name for name, pictures in own.items() if not low <= len(pictures) <= high]
            if len(own) != classes or wrong:
                has = f"{wrong[0]} with {len(own[wrong[0]])}" if wrong else f"{len(own)} classes"
                each = f"{low}" if low == high else f"{low} to {high}"
                accepted = f"{classes} classes of {each} pictures"
                raise UserError(f"{self.name}: {split} has {has}; accepted is {accepted}")
            for name in own:
                # numbers are counted in each split anew, names are of one class
                if not name.isdigit() and split_of.setdefault(name, split) != split:
                    both = f"{split_of[name]} and in {split}"
                    raise UserError(f"{self.name}: class {name} is in {both}; accepted is in one")
            found |= {f"{split}/{name}": pictures for name, pictures in own.items()}
        return found


def split_folders(folder: Path) -> Layout | None:
    """`train`, `val` and `test`, folders or zips of class folders."""
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
    """A few files for each split.

    Args:
        folder: where they are.
        names: their names, from the split's.
        read: the split's classes, from the paths of its files.
    """
    paths = {split: [folder / name for name in names(split)] for split in SPLITS}
    every = [path for own in paths.values() for path in own]
    if not all(path.is_file() for path in every):
        return None
    return Layout(lambda: every, lambda split: read(*paths[split]))
