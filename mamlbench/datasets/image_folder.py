"""A user's own pictures, one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.pictures import FILTERS, Decoding, Picture, Source, files_in, pictures_in
from mamlbench.datasets.sampling import SPLITS
from mamlbench.datasets.store import ImageSet, data_root, fetch
from mamlbench.errors import UserError, one_of, require
from mamlbench.files import at_home
from mamlbench.words import number_of


class ImageFolder(ImageDataset):
    """Pictures in `<root>/<split>/<class>/*.png|jpg|jpeg`, of any size, grey or colour.

    The splits are `train`, `test` and, if it exists, `val`. Every folder that holds pictures is a
    class. Pictures are stretched to a square.

    Args:
        ways: N classes in a task.
        shots: K support images of each at meta-test.
        queries: Q query images of each at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        root: the folder of the splits (None: `image_folder` where datasets live).
        image_size: height and width in pixels.
        channels: 1 (grey) or 3 (colour).
        resize: filter that brings pictures to that size.
        mean: subtracted from each channel of x in [0, 1] (None: nothing).
        std: divides each channel after that (None: nothing).

    Raises:
        BadValue: as `ImageDataset`, or an unknown size, number of channels or filter.
    """

    def __init__(
        self,
        ways: int = 5,
        shots: int = 1,
        queries: int = 5,
        train_shots: int | None = None,
        root: str | None = None,
        image_size: int = 84,
        channels: int = 3,
        resize: str = "lanczos",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        require(1 <= image_size <= 1024, "image_size", image_size, "1 to 1024 pixels")
        require(channels in (1, 3), "channels", channels, "1 (grey) or 3 (colour)")
        one_of("resize", resize, FILTERS)
        self.decoding = Decoding(channels, image_size, image_size, resize)
        super().__init__(
            self.decoding.shape, ways, shots, queries, train_shots, root, mean=mean, std=std
        )

    @property
    def _folder(self) -> Path:
        return at_home(self.root) if self.root else data_root(None) / "image_folder"

    @property
    @override
    def available(self) -> bool:
        return all((self._folder / split).is_dir() for split in ("train", "test"))

    @override
    def read(self, fresh: bool = False) -> ImageSet:
        if not self.available:
            raise UserError(
                f"{self._folder}: train or test is missing; accepted is "
                "train/<class>/*.png|jpg|jpeg, the same in test, and optionally in val"
            )
        parts = {split: self._folder / split for split in SPLITS}
        there = {split: part for split, part in parts.items() if part.is_dir()}
        source = Source(
            "image_folder",
            files=lambda: [file for part in there.values() for file in files_in(part)],
            read=lambda: _classes(there),
        )
        # beside the other caches, not among the user's pictures
        return fetch(source, self.decoding, data_root(None), fresh)


def _classes(parts: dict[str, Path]) -> dict[str, list[Picture]]:
    """The pictures of each class, by `split/class`."""
    found: dict[str, list[Picture]] = {}
    split_of: dict[str, str] = {}
    for split, part in parts.items():
        own: dict[str, list[Picture]] = {}
        for path, picture in pictures_in(part):
            own.setdefault("/".join(path[:-1]), []).append(picture)
        if "" in own:
            raise UserError(f"{own[''][0].name}: this picture is not in a class folder")
        if len(own) < 2:
            has = number_of(len(own), "class", "classes")
            accepted = "accepted is 2 or more, as <class>/*.png|jpg|jpeg"
            raise UserError(f"{part}: {has} with pictures; {accepted}")
        for name, pictures in own.items():
            if split_of.setdefault(name, split) != split:
                raise UserError(
                    f"{part / name}: this class is also in {split_of[name]}; accepted is one split"
                )
            found[f"{split}/{name}"] = pictures
    return found
