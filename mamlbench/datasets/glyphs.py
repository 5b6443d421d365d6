"""Made-up characters, for trying image code without a download."""

from __future__ import annotations

from typing_extensions import override

from mamlbench.datasets.glyph_strokes import SIDE, draw
from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.store import ImageSet

WRITERS = 20
SIZES = {"train": 700, "val": 100, "test": 200}


class Glyphs(ImageDataset):
    """1,000 characters of two to four strokes, drawn once by each of 20 made-up writers; ink is 1.

    They are drawn anew at each start, in a second or two, with the same bytes on every machine.
    Shape, size and difficulty are like Omniglot's; results are not comparable to any paper's.

    Args:
        ways: N characters in a task.
        shots: K support drawings of each at meta-test.
        queries: Q query drawings of each at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        rotations: `none`, `per_task` or `classes` at meta-training; see `ImageDataset`.

    Raises:
        BadValue: as `ImageDataset`.
    """

    def __init__(
        self,
        ways: int = 5,
        shots: int = 1,
        queries: int = 5,
        train_shots: int | None = None,
        rotations: str = "none",
    ) -> None:
        super().__init__(
            (1, SIDE, SIDE),
            ways,
            shots,
            queries,
            train_shots,
            root=None,
            rotations=rotations,
            known={split: (size, WRITERS) for split, size in SIZES.items()},
        )

    @property
    @override
    def available(self) -> bool:
        return True

    @override
    def content(self) -> None:
        """None: the drawings are always the same."""

    @override
    def read(self, fresh: bool = False) -> ImageSet:
        images = draw(sum(SIZES.values()), WRITERS, key=0)
        names = [f"{split}/{i:04d}" for split, size in SIZES.items() for i in range(size)]
        return ImageSet.of(images.reshape(-1, 1, SIDE, SIDE), names, [WRITERS] * len(names))
