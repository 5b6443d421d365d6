"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typing_extensions import override

from mamlbench.datasets.download import OMNIGLOT, fetch_file
from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.pictures import (
    FILTERS,
    Decoding,
    Picture,
    Source,
    files_in,
    find,
    pictures_in,
)
from mamlbench.datasets.store import ImageSet, data_root, fetch
from mamlbench.errors import UserError, one_of, require
from mamlbench.words import number_of

DRAWINGS = 20
CHARACTERS = {"images_background": 964, "images_evaluation": 659}
SPLIT_SIZES = {"maml": (1100, 100, 423), "mamlpp": (1150, 50, 423), "reptile": (1200, 0, 423)}


class Omniglot(ImageDataset):
    """Omniglot (Lake et al., Science 2015), both parts pooled and then split as the papers do.

    One fixed shuffle of the characters serves all splits, so the 423 test characters are always the
    same: `maml` trains on 1,100 and validates on 100 (arXiv 1703.03400, official code), `mamlpp` on
    1,150 and 50 (arXiv 1810.09502), `reptile` on 1,200 and none (arXiv 1803.02999).

    The pictures are 1-bit, and Pillow resizes 1-bit pictures by `nearest` whatever it is asked
    for. So the official codes of MAML (which names Lanczos), Reptile and MAML++ all use `nearest`.
    The other filters convert to grey first, as later libraries do.

    Args:
        ways: N characters in a task.
        shots: K support drawings of each at meta-test.
        queries: Q query drawings of each at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        root: where datasets live (None: MAMLBENCH_DATA, or the platform's cache folder).
        split: which characters train, validate and test.
        rotations: `none`, `per_task` or `classes`; see `ImageDataset`.
        rotate_test: rotate at meta-validation and meta-test too.
        invert: ink is 1 and paper 0.
        resize: filter from 105x105 to 28x28.

    Raises:
        BadValue: as `ImageDataset`, an unknown name, or `rotate_test` with rotations=classes.
    """

    def __init__(
        self,
        ways: int = 5,
        shots: int = 1,
        queries: int = 1,
        train_shots: int | None = None,
        root: str | None = None,
        split: str = "maml",
        rotations: str = "per_task",
        rotate_test: bool = True,
        invert: bool = True,
        resize: str = "nearest",
    ) -> None:
        one_of("split", split, SPLIT_SIZES)
        one_of("resize", resize, FILTERS)
        apart = rotations != "classes" or not rotate_test
        require(apart, "rotate_test", rotate_test, "false if rotations=classes")
        self.split, self.resize = split, resize
        super().__init__(
            (1, 28, 28),
            ways,
            shots,
            queries,
            train_shots,
            root,
            rotations=rotations,
            rotated=("train", "val", "test") if rotate_test else ("train",),
            invert=invert,
            known={
                name: (size, DRAWINGS)
                for name, size in zip(("train", "val", "test"), SPLIT_SIZES[split], strict=True)
            },
        )

    @property
    @override
    def available(self) -> bool:
        return all(find(data_root(self.root) / "omniglot", name) for name in CHARACTERS)

    @override
    def read(self, fresh: bool = False) -> ImageSet:
        root = data_root(self.root)
        parts = [_part(root / "omniglot", name) for name in CHARACTERS]
        source = Source(
            "omniglot",
            files=lambda: [file for part in parts for file in files_in(part)],
            read=lambda: _characters(parts),
        )
        return fetch(source, Decoding(1, 28, 28, self.resize), root, fresh)

    @override
    def split_classes(self, images: ImageSet) -> dict[str, np.ndarray]:
        train, val, _ = SPLIT_SIZES[self.split]
        order = np.argsort(np.random.Philox(key=0).random_raw(len(images.classes)), kind="stable")
        parts = np.split(order, [train, train + val])
        return dict(zip(("train", "val", "test"), parts, strict=True))


def _part(folder: Path, name: str) -> Path:
    return find(folder, name) or fetch_file(OMNIGLOT[name], folder / f"{name}.zip")


def _characters(parts: list[Path]) -> dict[str, list[Picture]]:
    """The drawings of each character, by `alphabet/character`."""
    found: dict[str, list[Picture]] = {}
    for part in parts:
        advice = f": fetch it again from {OMNIGLOT[part.stem].url}"
        own: dict[str, list[Picture]] = {}
        for path, picture in pictures_in(part, advice):
            own.setdefault("/".join(path[-3:-1]), []).append(picture)
        wrong = [name for name, drawings in own.items() if len(drawings) != DRAWINGS]
        if len(own) != CHARACTERS[part.stem] or wrong:
            has = f"{len(own)} characters"
            if wrong:
                has = f"{wrong[0]} with {number_of(len(own[wrong[0]]), 'drawing')}"
            accepted = f"{CHARACTERS[part.stem]} characters of {DRAWINGS} drawings"
            raise UserError(f"{part}: found {has}; accepted is {accepted}{advice}")
        found |= own
    return dict(sorted(found.items()))
