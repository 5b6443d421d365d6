"""Several processes that share each meta-batch: each one's tasks, and sums over all processes.

Every process has the whole batch of tasks, the same parameters and the same optimiser. Each works
on its share of the tasks; means over tasks are then added up, weighted by the number of tasks, and
all processes take the same step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from mamlbench.errors import Lost, UserError
from mamlbench.hardware.processes import here
from mamlbench.tasks import TaskBatch

Result = TypeVar("Result")

_PATIENCE = timedelta(hours=2)
"""For work that one process does alone, such as starting W&B; a dead one is noticed at once."""
_TO_SAY, _TO_END = timedelta(seconds=10), timedelta(seconds=60)
_ENDING, _THROUGH = "ending", "through"
"""How processes part: the first process sets `ending` when it stops working, and `through` when it
has printed why. Another process that fails waits for `ending`. If that comes, the first process
prints the reason and the other waits for `through`, because torchrun takes the first process to
exit for the failed one and kills the rest."""
_stores: list[dist.Store] = []
"""The store where the processes met, once they have."""


@dataclass(frozen=True)
class Share:
    """The tasks of a batch that one process works on.

    Attributes:
        first: number of the first task.
        count: number of tasks; can be 0 if there are more processes than tasks.
        total: number of tasks in the batch.
    """

    first: int
    count: int
    total: int

    @property
    def weight(self) -> float:
        """The weight of a mean over these tasks in the mean over all."""
        return self.count / self.total

    @property
    def end(self) -> int:
        """Number of the task after the last."""
        return self.first + self.count

    def of(self, tasks: TaskBatch) -> TaskBatch:
        """These tasks; if there are none, the batch's first, so that results of weight 0 exist."""
        if self.count == self.total:
            return tasks
        return tasks.with_seeds()[self.first : self.end] if self.count else tasks[:1]


@dataclass(frozen=True)
class Ranks:
    """This process among those that share a run; `ALONE` if there are no others.

    All processes call each method, at the same point of the run. Each method raises `Lost` if it
    cannot reach the others.

    Attributes:
        rank: the number of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def share(self, total: int) -> Share:
        """This process's share of `total` consecutive tasks; lower ranks may have one task more."""
        each, more = divmod(total, self.size)
        first = self.rank * each + min(self.rank, more)
        return Share(first, each + (self.rank < more), total)

    def combined(
        self, means: Sequence[Tensor], by_task: Sequence[Tensor], share: Share
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Combine all processes' means over tasks, and values by task, into those of all tasks.

        Args:
            means: of any shapes, the same on every process.
            by_task: [T] each, of this process's tasks.
            share: this process's tasks.
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
        """Replace the parameters' gradients, and other means, by means over all tasks, in place.

        Returns the metrics of all tasks, from those of this process's tasks.
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
        """Means over all tasks, from those over this process's."""
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
        """The lists of all processes, joined in the order of the ranks."""
        if self.size == 1:
            return parts
        lists: list[Any] = [None] * self.size
        with _others():
            dist.all_gather_object(lists, parts)
        return [part for own in lists for part in own]

    def from_first(self, function: Callable[[], Result]) -> Result:
        """The function's result on the first process, the only one that calls it.

        Raises:
            Exception: on every process, the exception that the function raised there.
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
        """The function's result on this process, once every process has called it.

        Raises:
            Exception: on every process, the exception of the lowest rank that failed.
        """
        if self.size == 1:
            return function()
        result, error = _tried(function)
        errors = [error for error in self.gathered([error]) if error is not None]
        return _raised_or_given(result, errors[0] if errors else None)

    def ending(self) -> None:
        """Announce the end of the first process, before the work of ending takes time."""
        if self.size > 1 and self.is_first:
            _tell(_ENDING)


ALONE = Ranks()


def joined() -> Ranks:
    """This process among the others, after waiting for all of them; `ALONE` if there are none.

    They meet once, at the first call.

    Raises:
        Lost: the others did not come.
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
    """Leave the other processes; print how the run ended if it did not end well.

    If all processes end, the first one prints the line and the others wait until it has, because
    the launcher takes the first process to exit for the failed one and ends the rest.

    Args:
        line: how the run ended; None if it ended well.
        lost: whether it ended because another process is gone.
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
    """Turn what torch raises when another process is gone into `Lost`."""
    try:
        yield
    except RuntimeError as error:
        why = str(error).splitlines()[0]
        raise Lost(
            "another process of this run has ended, or cannot be reached; "
            f"the same command goes on from the last checkpoint ({why})"
        ) from error


def _tell(key: str) -> None:
    with suppress(RuntimeError):  # the others may be gone
        _stores[0].set(key, "")


def _comes(key: str, within: timedelta) -> bool:
    """Whether the first process sets this key in time."""
    try:
        _stores[0].wait([key], within)
    except RuntimeError:
        return False
    return True


def _weighted(mean: Tensor, weight: float) -> Tensor:
    """The weighted mean; with weight 0 it is 0 even if the mean is not finite."""
    return mean * weight if weight else torch.zeros_like(mean)


def _tried(function: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    try:
        return function(), None
    except UserError as error:
        return None, UserError(str(error))  # its plain arguments can be sent
    except Exception as error:
        return None, error


def _raised_or_given(result: Any, error: Exception | None) -> Any:
    if error is not None:
        raise error
    return result
