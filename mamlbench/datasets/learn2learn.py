"""learn2learn's tasksets (Arnold et al., 2020, arXiv 2008.12284) as datasets."""

from __future__ import annotations

import contextlib
import io
import random
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from mamlbench.datasets.classes import ClassTasks
from mamlbench.datasets.sampling import SPLITS
from mamlbench.datasets.store import data_root
from mamlbench.errors import UserError, one_of
from mamlbench.learn2learn_import import learn2learn
from mamlbench.tasks import Examples, TaskBatch

# image shape; classes to train, validate and test; images of the smallest class
BENCHMARKS = {
    "omniglot": ((1, 28, 28), (1100, 100, 423), 20),
    "mini-imagenet": ((3, 84, 84), (64, 16, 20), 600),
    "tiered-imagenet": ((3, 84, 84), (351, 97, 160), 732),
    "fc100": ((3, 32, 32), (60, 20, 20), 600),
    "cifarfs": ((3, 32, 32), (64, 16, 20), 600),
}


class Learn2LearnTasks(ClassTasks):
    """Classification tasks drawn by learn2learn's own transforms from its tasksets.

    learn2learn samples with the global random generators. They are seeded before each task, with
    the task's own random number, and restored after it, so tasks are as reproducible as any others
    here; a taskset's `num_tasks` has no effect. If labels are strings, the numbering of a task's
    classes depends on PYTHONHASHSEED, as in learn2learn itself.

    Args:
        tasksets: `learn2learn.data.Taskset`s by split: `train`, `val`, `test`. The numbers of ways
            and samples in their transforms are replaced by those given here.
        ways: N classes in a task.
        shots: K support examples of each class at meta-test.
        queries: Q query examples of each class at meta-training.
        train_shots: K at meta-training (None: as `shots`).

    Raises:
        UserError: learn2learn is not installed.
        BadValue: more ways than classes, more examples than a class has, a wrong split.
    """

    unit = "example"

    def __init__(
        self,
        tasksets: Mapping[str, Any],
        ways: int = 5,
        shots: int = 1,
        queries: int = 1,
        train_shots: int | None = None,
    ) -> None:
        super().__init__(ways, shots, queries, train_shots)
        self.device = torch.device("cpu")
        self._data = learn2learn().data
        self._use(tasksets)

    @override
    def load(self, device: torch.device) -> None:
        self.device = device

    @override
    def words(self, split: str, shots: int, queries: int) -> int:
        if split not in self.splits:
            raise UserError(f"split {split}: this dataset has {', '.join(self.splits) or 'none'}")
        self.check(split, shots, queries)
        return 1

    @override
    def make(self, split: str, u: np.ndarray, shots: int, queries: int) -> TaskBatch:
        taskset = self._taskset(split, shots + queries)
        seeds = (u[:, 0] * 2.0**53).astype(np.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = [self._draw(taskset, int(seed), shots, queries) for seed in seeds]
        support_x, support_y, query_x, query_y = (
            torch.stack(tensors).to(self.device) for tensors in zip(*parts, strict=True)
        )
        return TaskBatch(
            Examples(support_x.float(), support_y.long()), Examples(query_x.float(), query_y.long())
        )

    def _use(self, tasksets: Mapping[str, Any]) -> None:
        """Draw tasks from these, after checking that they have enough classes and examples."""
        self._sizes = dict.fromkeys(SPLITS, (0, 0))
        for split, taskset in tasksets.items():
            one_of("tasksets", split, SPLITS)
            members = taskset.dataset.labels_to_indices.values()
            self._sizes[split] = (len(members), min((len(m) for m in members), default=0))
        if tasksets:
            with _seeded(0):
                self.input_shape = tuple(next(iter(tasksets.values())).dataset[0][0].shape)
        self._tasksets = dict(tasksets)
        self._resized: dict[tuple[str, int], Any] = {}
        self.check_splits()

    def _taskset(self, split: str, samples: int) -> Any:
        """The split's taskset with transforms that draw `ways` classes and `samples` of each."""
        if (split, samples) not in self._resized:
            given = self._tasksets[split]
            transforms = given.task_transforms
            if not callable(transforms):
                labels = set(given.dataset.labels)
                transforms = [self._resize(t, samples, labels) for t in transforms]
            self._resized[split, samples] = self._data.Taskset(
                given.dataset, transforms, task_collate=given.task_collate
            )
        return self._resized[split, samples]

    def _resize(self, transform: Any, samples: int, labels: set[Any]) -> Any:
        known = self._data.transforms
        if isinstance(transform, known.NWays):
            return known.NWays(transform.dataset, n=self.ways)
        if isinstance(transform, known.KShots):
            return known.KShots(transform.dataset, k=samples, replacement=transform.replacement)
        if isinstance(transform, known.FusedNWaysKShots):
            # learn2learn 0.2.0 draws Omniglot's tasks of each split from the classes of all splits
            own = [label for label in transform.filter_labels if label in labels]
            return known.FusedNWaysKShots(
                transform.dataset,
                n=self.ways,
                k=samples,
                replacement=transform.replacement,
                filter_labels=own,
            )
        return transform

    def _draw(self, taskset: Any, seed: int, shots: int, queries: int) -> tuple[Tensor, ...]:
        """One task: support x [N*K, ...] and y, query x [N*Q, ...] and y."""
        with _seeded(seed):
            x, y = taskset[0]
        counts = torch.bincount(y, minlength=self.ways).tolist()
        if counts != [shots + queries] * self.ways:
            raise UserError(
                f"tasksets: a task has {counts} examples of its classes; accepted is "
                f"{shots + queries} of each of {self.ways} classes, numbered from 0"
            )
        support, query = self._data.partition_task(x, y, shots=shots)
        return *support, *query


class Learn2LearnBenchmark(Learn2LearnTasks):
    """A taskset of `learn2learn.vision.benchmarks` by its name.

    learn2learn downloads what it needs into the folder `learn2learn` of the data root, in its own
    formats; several are pickles, whose source it trusts. Pixels are in [0, 1]. With Omniglot,
    learn2learn 0.2.0 shuffles the classes at random (here: always the same way), and rotates all
    classes of a task by the same angle.

    Args:
        taskset: `omniglot`, `mini-imagenet`, `tiered-imagenet`, `fc100` or `cifarfs`.
        ways: N classes in a task.
        shots: K support images of each class at meta-test.
        queries: Q query images of each class at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        root: where datasets live (None: MAMLBENCH_DATA, or the platform's cache folder).

    Raises:
        UserError: learn2learn is not installed.
        BadValue: an unknown name, more ways than classes, more images than a class has.
    """

    def __init__(
        self,
        taskset: str = "omniglot",
        ways: int = 5,
        shots: int = 1,
        queries: int = 1,
        train_shots: int | None = None,
        root: str | None = None,
    ) -> None:
        one_of("taskset", taskset, BENCHMARKS)
        super().__init__({}, ways, shots, queries, train_shots)
        self.taskset, self.root = taskset, root
        self.input_shape, classes, images = BENCHMARKS[taskset]
        self._sizes = {split: (n, images) for split, n in zip(SPLITS, classes, strict=True)}
        self.check_splits()

    @override
    def load(self, device: torch.device) -> None:
        super().load(device)
        folder = data_root(self.root) / "learn2learn"
        benchmarks = learn2learn().vision.benchmarks
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _seeded(0), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                found = benchmarks.get_tasksets(
                    self.taskset, root=str(folder), data_augmentation="normalize"
                )
        except Exception as error:  # whatever its many readers and downloads may raise
            reason = textwrap.shorten(str(error) or type(error).__name__, 200)
            raise UserError(
                f"{folder}: learn2learn cannot read or download {self.taskset} ({reason}): "
                "remove what is broken there, or put its files there by hand"
            ) from error
        self._use(dict(zip(SPLITS, found, strict=True)))


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global random generators inside the context, and restore them after it."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
