"""CIFAR-100 as its authors distribute it: the source of CIFAR-FS and FC100."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from mamlbench.datasets.download import CIFAR100, fetch_file
from mamlbench.datasets.pickles import stumbling, unpickled
from mamlbench.datasets.pictures import Picture
from mamlbench.datasets.published_split import Classes, Layout

NAME = "cifar-100-python"
_FILES = ("train", "test", "meta")

Choice = Callable[[str, str], str]
"""Gives the split of a class, from its superclass and its name."""


def cifar100(folder: Path, choice: Choice) -> Layout | None:
    """CIFAR-100 in `folder` or in `cifar100` beside it, extracted or as tar.gz; None if missing."""
    for place in (folder, folder.parent / "cifar100"):
        extracted, archive = place / NAME, place / f"{NAME}.tar.gz"
        if all((extracted / name).is_file() for name in _FILES):
            return _layout(extracted, [extracted / name for name in _FILES], choice)
        if archive.is_file():
            return _layout(archive, [archive], choice)
    return None


def fetched_cifar100(folder: Path, choice: Choice) -> Layout:
    """CIFAR-100, downloaded to `cifar100` beside `folder`."""
    archive = fetch_file(CIFAR100, folder.parent / "cifar100" / f"{NAME}.tar.gz")
    return _layout(archive, [archive], choice)


def _layout(path: Path, files: list[Path], choice: Choice) -> Layout:
    classes = functools.cache(lambda: _classes(path))

    def read(split: str) -> Classes:
        return {
            name: pictures
            for (superclass, name), pictures in classes().items()
            if choice(superclass, name) == split
        }

    return Layout(lambda: files, read)


def _classes(path: Path) -> dict[tuple[str, str], list[Picture]]:
    """The 600 pictures of each (superclass, class), sorted by class and file name.

    The authors' parts `train` and `test` (500 and 100 pictures of each class) are merged.
    """
    found: dict[tuple[str, str], list[Picture]] = {}
    accepted = f"is the complete {CIFAR100.url}"
    with stumbling(path, "CIFAR-100", accepted), _opened(path) as opened:
        meta = _content(opened("meta"))
        names, superclasses = meta["fine_label_names"], meta["coarse_label_names"]
        for part in ("train", "test"):
            content = _content(opened(part))
            pixels = np.asarray(content["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
            columns = (content[key] for key in ("coarse_labels", "fine_labels", "filenames"))
            for image, superclass, label, name in zip(pixels, *columns, strict=True):
                turned = functools.partial(np.transpose, image, (1, 2, 0))
                picture = Picture(f"{path}: {name}", turned)
                found.setdefault((superclasses[superclass], names[label]), []).append(picture)
    in_order = sorted(found, key=lambda key: key[1])
    return {key: sorted(found[key], key=lambda picture: picture.name) for key in in_order}


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """A function that opens `train`, `test` or `meta` in the folder or archive."""
    if path.is_dir():
        yield lambda name: (path / name).open("rb")
        return
    with tarfile.open(path) as archive:

        def member(name: str) -> IO[bytes]:
            file = archive.extractfile(f"{NAME}/{name}")
            if file is None:
                raise ValueError(f"{NAME}/{name} is not a file")
            return file

        yield member


def _content(file: IO[bytes]) -> dict[str, Any]:
    with file:
        return unpickled(file)
