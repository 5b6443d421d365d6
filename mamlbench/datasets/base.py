"""The interface of every dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mamlbench.datasets.sampling import SPLITS, task_words, to_uniform
from mamlbench.datasets.store import content_hash
from mamlbench.errors import BadValue, one_of, require
from mamlbench.objectives import Objective
from mamlbench.tasks import TaskBatch
from mamlbench.words import number_of


class Dataset(ABC):
    """A distribution over tasks, with its splits.

    The constructor checks its arguments but reads no data; `load` reads the data onto the device;
    `sample` makes tasks. A subclass implements `words` (how many random numbers one task needs)
    and `make` (tasks as a pure function of these numbers).

    Attributes:
        objective: loss and metrics of the tasks.
        input_shape: shape of one input x, known before any data is read.
        outputs: number of outputs C that a network needs.
        ways: N classes in a task; 1 if tasks have no classes.
        shots: K at meta-test, and at meta-training unless `train_shots` says otherwise.
        queries: Q at meta-training.
        train_shots: K at meta-training.
        examples_per_shot: network input rows per shot or query (for a policy, an episode's steps).
        acts: whether the learner's own policy generates a task's examples.
        modules: names of further Python modules whose code the tasks depend on.
        files: the files that `load` reads; `sha256` and `content` are the hash of their content.
    """

    objective: Objective
    input_shape: tuple[int, ...]
    outputs: int
    ways: int = 1
    examples_per_shot: int = 1
    acts: bool = False
    modules: tuple[str, ...] = ()
    files: Sequence[str | Path] = ()
    _sha256: str | None = None

    def __init__(self, shots: int, queries: int, train_shots: int | None = None) -> None:
        require(shots >= 1, "shots", shots, "1 or more")
        require(queries >= 0, "queries", queries, "0 or more")
        require(train_shots is None or train_shots >= 1, "train_shots", train_shots, "1 or more")
        self.shots, self.queries = shots, queries
        self.train_shots = train_shots or shots

    @property
    def support_ways(self) -> int:
        """Number of classes in the support set; if fewer than N, these are the last ones."""
        return self.ways

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of `train`, `val` and `test` that have tasks."""
        return SPLITS

    @property
    @abstractmethod
    def setting(self) -> str:
        """Short name of the setting, used as a folder name: `5way1shot`, `10shot`."""

    def examples_in_words(self, shots: int, queries: int | str) -> str:
        """A task's examples in words, for protocols; `queries` is a number or `all remaining`."""
        words = f"{number_of(shots, 'shot')}, {number_of(queries, 'query', 'queries')}"
        return f"{words} per class" if self.ways > 1 else words

    @abstractmethod
    def load(self, device: torch.device) -> None:
        """Read the data, downloading it if necessary, and keep it on `device`.

        Raises:
            UserError: what is missing or broken, and what to do about it.
        """

    @property
    def sha256(self) -> str | None:
        """Content hash of the loaded data; None if the tasks are made from formulas."""
        if self._sha256 is None:
            self._sha256 = self.content()
        return self._sha256

    def content(self) -> str | None:
        """Like `sha256`, for the data there now, loaded or not; None if missing or broken."""
        with suppress(OSError):
            files = sorted(Path(file).absolute() for file in self.files)
            return content_hash(files, type(self).__name__) if files else None
        return None

    @property
    def is_hashed(self) -> bool:
        """Whether a result records which data it is from, as `sha256`."""
        kind = type(self)
        own = kind.sha256 is not Dataset.sha256 or kind.content is not Dataset.content
        return own or bool(self.files)

    @property
    def simulator(self) -> dict[str, str] | None:
        """What else results on the tasks depend on, by name: the environment, for example."""
        return None

    @abstractmethod
    def words(self, split: str, shots: int, queries: int) -> int:
        """How many random numbers one task needs."""

    def numbers(self, split: str, first: int, u: np.ndarray) -> np.ndarray:
        """The numbers [T, words] from which tasks `first` onwards are made; by default u."""
        del split, first
        return u

    @abstractmethod
    def make(self, split: str, u: np.ndarray, shots: int, queries: int) -> TaskBatch:
        """Make tasks from u, [T, words] uniform in [0, 1); `sample` adds the seeds."""

    def remaining(self, split: str, shots: int) -> int:
        """Queries per class if all are used that every class has left (LEO's protocol)."""
        del split, shots
        raise BadValue("queries", "remaining", "a number: this dataset's examples are unlimited")

    def sample(
        self,
        split: str,
        seed: int,
        first: int,
        count: int,
        shots: int | None = None,
        queries: int | None = None,
    ) -> TaskBatch:
        """Tasks `first` to `first + count - 1` of `split` under `seed`.

        `shots` defaults to the dataset's (for `train`, `train_shots`), as does `queries`.
        """
        one_of("split", split, SPLITS)
        own = self.train_shots if split == "train" else self.shots
        shots = own if shots is None else shots
        queries = self.queries if queries is None else queries
        words = task_words(seed, split, first, count, 1 + self.words(split, shots, queries))
        u = self.numbers(split, first, to_uniform(words[:, 1:]))
        tasks = self.make(split, u, shots, queries)
        seeds = (words[:, 0] >> np.uint64(1)).astype(np.int64)
        return replace(tasks, support=replace(tasks.support, seeds=seeds))
