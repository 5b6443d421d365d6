"""Inner loops with Adam or SGD on a GPU: all steps of all tasks as one CUDA graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from mamlbench.algorithms.inner_adam import Moments
from mamlbench.algorithms.minibatches import Batches
from mamlbench.hardware.transfer import on_device
from mamlbench.networks.base import Params
from mamlbench.replay.cuda_graph import CudaGraph, graph_of
from mamlbench.replay.replay import agree, shapes
from mamlbench.replay.rounding import Function
from mamlbench.tasks import Examples

Learned = tuple[dict[str, Tensor], Moments, Tensor]
"""The tasks' share of the mean change by parameter (start minus end), the mean of their final Adam
moments, and their losses [T]."""

Loop = Callable[[Batches, int, Moments, int], Learned]
"""Its arguments: mini-batches, the number of their tasks, initial moments, and the number of tasks
over which the change is a mean."""


class Captured:
    """A function of tensors that becomes a CUDA graph for input shapes that it has seen before.

    Unlike `Replay`, it captures the Python function itself, after two calls in which the function
    builds caches and inner graphs; inner graphs become part of the captured one. If the function
    cannot be captured, or the graph gives other results, the function itself runs.

    Args:
        function: as for `Replay`.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self._calls: Counter[Any] = Counter()
        self._graphs: dict[Any, Function] = {}

    @property
    def trusted(self) -> int:
        """The number of input shapes for which there is a graph by now."""
        return sum(isinstance(graph, CudaGraph) for graph in self._graphs.values())

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """The function's outputs."""
        key = shapes(inputs)
        if key in self._graphs:
            return self._graphs[key](*inputs)
        outputs = self.function(*inputs)
        self._calls[key] += 1
        if self._calls[key] > 2:
            self._graphs[key] = self._graph(inputs, outputs)
        return outputs

    def _graph(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Function:
        if not inputs[0].is_cuda:
            return self.function
        is_right = partial(agree, self.function, inputs, outputs)
        return graph_of(self.function, inputs, is_right) or self.function


class CapturedLoop:
    """A `Loop` that is launched by a single call from its fourth run on.

    Args:
        loop: it refers to the parameters, and to nothing else outside its arguments.
        steps: number of mini-batches, which must not depend on parameters.
    """

    def __init__(self, loop: Loop, steps: int) -> None:
        self._loop, self._steps = loop, steps
        self._captured: dict[int, Captured] = {}
        self._names: tuple[list[str], list[str]] = [], []

    @property
    def trusted(self) -> int:
        """The number of kinds of batches for which there is a graph by now."""
        return sum(each.trusted for each in self._captured.values())

    def __call__(self, batches: Batches, tasks: int, moments: Moments, total: int) -> Learned:
        """The loop's result."""
        given = [batches(step, {}) for step in range(self._steps)]
        if total not in self._captured:
            self._captured[total] = Captured(partial(self._flat, list(moments.second), total))
        count = on_device(np.array(float(moments.steps)), given[0].x.device)
        values = [*moments.second.values(), *(b.x for b in given), *(b.y for b in given)]
        *found, losses = self._captured[total](count, *values)
        changed, ended = self._names
        changes = dict(zip(changed, found, strict=False))
        second = dict(zip(ended, found[len(changed) :], strict=True))
        return changes, Moments(second, moments.steps + self._steps), losses

    def _flat(
        self, names: Sequence[str], total: int, count: Tensor, *values: Tensor
    ) -> list[Tensor]:
        moments = Moments(dict(zip(names, values, strict=False)), count)
        xs, ys = values[len(names) :][: self._steps], values[-self._steps :]

        def batches(step: int, params: Params) -> Examples:
            return Examples(xs[step], ys[step])

        changes, end, losses = self._loop(batches, len(xs[0]), moments, total)
        self._names = list(changes), list(end.second)
        return [*changes.values(), *end.second.values(), losses]
