"""Few-shot classification: tasks of N classes of a split, whatever the source of examples."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from mamlbench.datasets.base import Dataset
from mamlbench.datasets.sampling import SPLITS
from mamlbench.errors import require
from mamlbench.objectives import Classification
from mamlbench.words import number_of


class ClassTasks(Dataset):
    """Tasks of N classes drawn from a split, K support and Q query examples of each.

    For each split that it knows, a subclass stores in `_sizes` the number of classes and the number
    of examples in the smallest class, then calls `check_splits`.

    Args:
        ways: N classes in a task.
        shots: K support examples of each class at meta-test.
        queries: Q query examples of each class at meta-training.
        train_shots: K at meta-training (None: as `shots`).

    Attributes:
        unit: noun for one example, in messages.

    Raises:
        BadValue: a count below its minimum.
    """

    objective = Classification()
    unit: ClassVar[str] = "image"

    def __init__(self, ways: int, shots: int, queries: int, train_shots: int | None) -> None:
        super().__init__(shots, queries, train_shots)
        require(ways >= 2, "ways", ways, "2 or more")
        self.ways = self.outputs = ways
        self._sizes: dict[str, tuple[int, int]] = {}
        self._smallest: dict[str, str] = {}
        """The smallest class's name, for splits whose classes differ in size."""

    @property
    @override
    def setting(self) -> str:
        return f"{self.ways}way{self.shots}shot"

    @property
    @override
    def splits(self) -> tuple[str, ...]:
        """The splits that have classes, or about which nothing is known yet."""
        return tuple(split for split in SPLITS if self._sizes.get(split, (1, 1))[0] > 0)

    def check_splits(self) -> None:
        """Raise `BadValue` unless each split has enough for this dataset's own tasks."""
        for split in self._sizes:
            train = split == "train"
            # outside training, the protocol decides the number of queries
            self.check(split, self.train_shots if train else self.shots, self.queries * train)

    def check(self, split: str, shots: int, queries: int) -> None:
        """Raise `BadValue` unless `split` has enough classes and examples for such a task."""
        classes, examples = self._sizes.get(split, (self.ways, shots + queries))
        if not classes:
            return
        few = f"2 to {classes}: {split} has no more classes"
        require(self.ways <= classes, "ways", self.ways, few)
        option = "train_shots" if split == "train" and shots != self.shots else "shots"
        smallest = self._smallest.get(split, f"a class of {split}")
        has = f"{smallest} has {number_of(examples, self.unit)}"
        require(shots <= examples, option, shots, f"1 to {examples}: {has}")
        most = f"0 to {examples - shots}: {has}, {shots} of them support"
        require(shots + queries <= examples, "queries", queries, most)

    @override
    def remaining(self, split: str, shots: int) -> int:
        return max(0, self._sizes[split][1] - shots)
