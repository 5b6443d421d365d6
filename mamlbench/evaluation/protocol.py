"""Evaluation protocols: everything besides the learner that a result depends on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mamlbench.datasets.base import Dataset
from mamlbench.errors import one_of, require
from mamlbench.words import number_of

_SELECTION = re.compile(r"best|best_training|last|top([1-9]\d*)")


@dataclass(frozen=True)
class Protocol:
    """How a learner is tested.

    Attributes:
        name: the protocol's name, as tables print it.
        tasks: meta-test tasks; they are the same for every run and seed.
        shots: K (None: the dataset's).
        queries: Q per class: a number, `shots` (as many as K), or `remaining` (all others).
        inner_steps: S (None: the algorithm's).
        score_every: inner steps from one score to the next; the first score is before any step, the
            last after all. If `transductive` is off, a score can cost more than ten steps.
        transductive: normalise all queries of a task as one batch.
        select: the checkpoint to test: `best` by meta-validation; `last`; `best_training`, of the
            outer step whose own tasks scored best, as in MAML's code for control; or `topK`, for
            example `top5`: the mean outputs of the K best, as in MAML++ (arXiv 1810.09502).
        validation_tasks: meta-validation tasks, the same at each validation.
        active_rounds: labels that active learning asks for after the test, one at a time (0: no
            active learning).
        active_pool: points per task that it chooses from, over all classes.

    Raises:
        BadValue: a value out of range.
    """

    name: str = "standard"
    tasks: int = 600
    shots: int | None = None
    queries: int | str = 15
    inner_steps: int | None = None
    score_every: int = 1
    transductive: bool = True
    select: str = "best"
    validation_tasks: int = 100
    active_rounds: int = 0
    active_pool: int = 20

    def __post_init__(self) -> None:
        require(self.tasks >= 1, "tasks", self.tasks, "1 or more")
        require(self.validation_tasks >= 1, "validation_tasks", self.validation_tasks, "1 or more")
        require(self.active_rounds >= 0, "active_rounds", self.active_rounds, "0 or more")
        require(self.active_pool >= 1, "active_pool", self.active_pool, "1 or more")
        require(self.shots is None or self.shots >= 1, "shots", self.shots, "1 or more, or null")
        steps = self.inner_steps
        require(steps is None or steps >= 0, "inner_steps", steps, "0 or more, or null")
        require(self.score_every >= 1, "score_every", self.score_every, "1 or more")
        accepted = "1 or more, shots or remaining"
        if isinstance(self.queries, str):
            one_of("queries", self.queries, ("shots", "remaining"))
        else:
            require(self.queries >= 1, "queries", self.queries, accepted)
        known = _SELECTION.fullmatch(self.select) is not None
        require(
            known,
            "select",
            self.select,
            "best, best_training, last, or top and a number, such as top5",
        )

    @property
    def kept(self) -> int:
        """How many of the best checkpoints are tested together."""
        match = _SELECTION.fullmatch(self.select)
        return int(match[1] or 1) if match else 1

    @property
    def by_training(self) -> bool:
        """Whether the best checkpoint is chosen without meta-validation."""
        return self.select == "best_training"

    def scored_steps(self, last: int) -> list[int]:
        """The numbers of inner steps after which to score an adaptation of `last` steps."""
        return [*range(0, last, self.score_every), last]

    def require_for(self, dataset: Dataset) -> None:
        """Check that the dataset's tasks can be tested with this protocol.

        Raises:
            BadValue: the mean outputs of several learners, or labels one at a time, for a dataset
                in which a policy acts: changing outputs afterwards does not change its returns.
        """
        if dataset.acts:
            accepted = "best, best_training or last: only one policy acts"
            require(self.kept == 1, "select", self.select, accepted)
            accepted = "0: a policy's examples have no labels to ask for"
            require(self.active_rounds == 0, "active_rounds", self.active_rounds, accepted)

    def shots_and_queries(self, dataset: Dataset, split: str) -> tuple[int, int]:
        """K and Q as numbers.

        Raises:
            BadValue: Q is `remaining`, and K leaves no examples of a class.
        """
        shots = self.shots or dataset.shots
        if self.queries == "shots":
            return shots, shots
        if self.queries == "remaining":
            left = dataset.remaining(split, shots)
            require(
                left >= 1, "shots", shots, f"fewer: a {split} class has no examples left as queries"
            )
            return shots, left
        return shots, int(self.queries)

    def in_words(self, dataset: Dataset, inner_steps: int, norm: str) -> str:
        """The protocol as a sentence, for `summary.json` and tables.

        Args:
            dataset: the dataset tested on.
            inner_steps: S, the number of steps taken.
            norm: how the network normalises; with batch norm, results depend on how queries are
                batched.
        """
        shots = self.shots or dataset.shots
        named: dict[str, int | str] = {"shots": shots, "remaining": "all remaining"}
        examples = dataset.examples_in_words(shots, named.get(str(self.queries), self.queries))
        statistics = "transductive, " if self.transductive else "each query with the support set, "
        statistics = statistics if norm == "batch" else ""
        named = {"last": "last checkpoint", "best_training": "best checkpoint in training"}
        checkpoints = named.get(self.select, "best checkpoint")
        if self.kept > 1:
            checkpoints = f"mean outputs of the {self.kept} best checkpoints"
        active = ""
        if self.active_rounds:
            labels = number_of(self.active_rounds, "label")
            active = f"; then {labels} asked for, from {self.active_pool} points"
        return (
            f"{self.name}: {number_of(self.tasks, 'task')}, {examples}, "
            f"{number_of(inner_steps, 'inner step')}, {statistics}{checkpoints}, "
            f"95% interval over tasks{active}"
        )
