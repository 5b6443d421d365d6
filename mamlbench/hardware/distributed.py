"""Several processes that share each meta-batch: whose tasks are whose, and sums over all.

Every process has the whole batch of tasks, the same parameters and the same optimiser. Each works
on its share of the tasks; means over tasks are then added up, weighted by their number, and all
take the same step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from mamlbench.errors import Lost, UserError
from mamlbench.hardware.processes import here
from mamlbench.tasks import Examples, TaskBatch

Result = TypeVar("Result")

_PATIENCE = timedelta(hours=2)
"""For what one process does alone, as W&B's start; one that has ended is noticed at once."""
_TO_SAY, _TO_END = timedelta(seconds=10), timedelta(seconds=60)
_ENDING, _THROUGH = "ending", "through"
"""How processes part: the first sets `ending` when it stops working, and `through` when it has said
why. Another that fails waits for `ending`; where that comes, the first one tells the line, and the
other waits for `through`, because torchrun takes the first process to leave for the failure, and
kills the rest."""
_stores: list[dist.Store] = []
"""Where the processes met, once they did."""


@dataclass(frozen=True)
class Share:
    """Which tasks of a batch are one process's.

    Attributes:
        first: number of the first.
        count: how many; none, where there are more processes than tasks.
        total: tasks of the batch.
    """

    first: int
    count: int
    total: int

    @property
    def weight(self) -> float:
        """Of a mean over these tasks, in the mean over all."""
        return self.count / self.total

    @property
    def end(self) -> int:
        """Number of the task after the last."""
        return self.first + self.count

    def of(self, tasks: TaskBatch) -> TaskBatch:
        """These tasks; of none, the batch's first, so that there are results, of weight 0."""
        if self.count == self.total:
            return tasks
        support = tasks.support
        if isinstance(support, Examples) and support.seeds is None:
            support = replace(support, seeds=np.arange(self.total))  # as algorithms take them
        return replace(tasks, support=support)[self.first : self.end] if self.count else tasks[:1]


@dataclass(frozen=True)
class Ranks:
    """This process among those that do a run together; `ALONE` where it does it by itself.

    All processes call each method, at the same point of the run. Where it cannot reach the others,
    each raises `Lost`.

    Attributes:
        rank: the number of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and logs."""
        return self.rank == 0

    def share(self, total: int) -> Share:
        """This process's share of so many tasks: one after the other, one more for the first."""
        each, more = divmod(total, self.size)
        first = self.rank * each + min(self.rank, more)
        return Share(first, each + (self.rank < more), total)

    def combined(
        self, means: Sequence[Tensor], by_task: Sequence[Tensor], share: Share
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Means over this process's tasks as means over all; values of tasks as those of all.

        Args:
            means: of any shapes, the same on every process.
            by_task: [T] each, of this process's tasks.
            share: whose they are.
        """
        if self.size == 1:
            return list(means), list(by_task)
        parts = [_weighted(m.reshape(-1), share.weight) for m in means]
        for values in by_task:
            row = values.new_zeros(share.total)
            row[share.first : share.end] = values[: share.count]
            parts.append(row)
        flat = torch.cat(parts)
        with _others():
            dist.all_reduce(flat)
        pieces = flat.split([len(part) for part in parts])
        sums = [piece.to(part.dtype) for piece, part in zip(pieces, parts, strict=True)]
        shaped = [piece.view(m.shape) for piece, m in zip(sums, means, strict=False)]
        return shaped, sums[len(means) :]

    def averaged(
        self,
        parameters: Iterable[nn.Parameter],
        means: Sequence[Tensor],
        metrics: dict[str, Tensor],
        share: Share,
    ) -> dict[str, Tensor]:
        """Make the gradients of the parameters, and other means over tasks, those of all tasks.

        Gives the metrics of all tasks, from those of this process's.
        """
        if self.size == 1:
            return metrics
        given = [(p, p.grad) for p in parameters if p.grad is not None]
        own = [*(gradient for _, gradient in given), *means]
        found, by_task = self.combined(own, list(metrics.values()), share)
        for (parameter, _), gradient in zip(given, found, strict=False):
            parameter.grad = gradient
        for mean, value in zip(means, found[len(given) :], strict=True):
            mean.copy_(value)
        return dict(zip(metrics, by_task, strict=True))

    def mean(self, values: Tensor, share: Share) -> Tensor:
        """Means over this process's tasks as means over all."""
        return self.combined([values], [], share)[0][0]

    def most(self, number: int) -> int:
        """The largest of the processes' numbers."""
        if self.size == 1:
            return number
        numbers = torch.tensor(number)
        with _others():
            dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def gathered(self, parts: list[Result]) -> list[Result]:
        """The lists of all processes as one, in the order of the ranks."""
        if self.size == 1:
            return parts
        lists: list[Any] = [None] * self.size
        with _others():
            dist.all_gather_object(lists, parts)
        return [part for own in lists for part in own]

    def from_first(self, function: Callable[[], Result]) -> Result:
        """What the function gives on the first process, which alone calls it.

        Raises:
            Exception: on every process, what it raised there.
        """
        if self.size == 1:
            return function()
        told: list[Any] = [None, None]
        if self.is_first:
            told = list(_tried(function))
        with _others():
            dist.broadcast_object_list(told, src=0)
        return _raised_or_given(*told)

    def together(self, function: Callable[[], Result]) -> Result:
        """What the function gives here, once every process has called it.

        Raises:
            Exception: on every process, what the first one that failed raised.
        """
        if self.size == 1:
            return function()
        result, error = _tried(function)
        errors = [error for error in self.gathered([error]) if error is not None]
        return _raised_or_given(result, errors[0] if errors else None)

    def ending(self) -> None:
        """The first process says that it ends, before what takes time then."""
        if self.size > 1 and self.is_first:
            _tell(_ENDING)


ALONE = Ranks()


def joined() -> Ranks:
    """This process among the others, all of which it waits for; `ALONE` where there are none.

    They meet once, at the first call.

    Raises:
        Lost: they did not come.
    """
    place = here()
    if place.size == 1:
        return ALONE
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        url = "env://" if place.address is None else f"tcp://{place.address}"
        with _others():
            store, rank, size = next(rendezvous(url, place.rank, place.size))
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE
            )
        _stores[:] = [dist.PrefixStore("mamlbench", store)]
    return Ranks(place.rank, place.size)


def leave(line: str | None = None, lost: bool = False) -> None:
    """Part from the other processes, after saying in a line how it ended, if it did not end well.

    An end that all processes come to the first one tells, and the others wait until it did: who
    started them takes the first one to go for a failure and ends the rest.

    Args:
        line: how it ended.
        lost: because another process is gone.
    """
    place = here()
    if not dist.is_initialized():
        if line is not None and place.local_rank == 0:
            _say(line)
        return
    if place.is_first:
        _tell(_ENDING)
    elif line is not None and not lost and _comes(_ENDING, _TO_SAY):
        _comes(_THROUGH, _TO_END)
        line = None
    if line is not None and (place.is_first or not lost):
        _say(line)
    if place.is_first:
        _tell(_THROUGH)
    dist.destroy_process_group()


def _say(line: str) -> None:
    print(f"mamlbench: {line}", file=sys.stderr, flush=True)


@contextmanager
def _others() -> Iterator[None]:
    """What torch raises where another process is gone, as `Lost`."""
    try:
        yield
    except RuntimeError as error:
        why = str(error).splitlines()[0]
        raise Lost(
            "another process of this run has ended, or cannot be reached; "
            f"the same command goes on from the last checkpoint ({why})"
        ) from error


def _tell(key: str) -> None:
    with suppress(RuntimeError):  # nobody may be there to hear it
        _stores[0].set(key, "")


def _comes(key: str, within: timedelta) -> bool:
    """Whether the first process sets that key within the time."""
    try:
        _stores[0].wait([key], within)
    except RuntimeError:
        return False
    return True


def _weighted(mean: Tensor, weight: float) -> Tensor:
    """Of weight 0 also what is not finite counts for nothing."""
    return mean * weight if weight else torch.zeros_like(mean)


def _tried(function: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    try:
        return function(), None
    except UserError as error:
        return None, UserError(str(error))  # of plain arguments, which can be sent
    except Exception as error:
        return None, error


def _raised_or_given(result: Any, error: Exception | None) -> Any:
    if error is not None:
        raise error
    return result
