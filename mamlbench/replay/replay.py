"""Meta-gradients without Python: traced once into a list of tensor operations, then replayed.

On sinusoids, the arithmetic of a step takes a fraction of the time of autograd and the interpreter;
on images, with several inner steps, these two take a fifth of the time or more. A replay runs the
same operations on new tasks and gives the same bits; on a GPU it is one CUDA graph and gives the
same numbers up to rounding. The list can also be compiled, which takes a minute, fuses most of it
and gives the same numbers up to rounding. A trace is needed for this because torch.compile does not
differentiate twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from mamlbench.errors import UserError
from mamlbench.hardware.heap import give_back_freed_memory
from mamlbench.networks.base import Params
from mamlbench.replay.common_results import share_results
from mamlbench.replay.cuda_graph import graph_of
from mamlbench.replay.memory_plan import plan_memory
from mamlbench.replay.rounding import ROUNDING, SHORTER_ROUNDING, Function, is_rounding
from mamlbench.replay.simplify import simplify, traced
from mamlbench.tasks import Examples, TaskBatch

MOST_OPERATIONS = 10_000
"""Functions with more are not traced: tracing takes a millisecond per operation, and with networks
so deep or so many inner steps, Python takes only a small part of a step."""


class Compiled:
    """A function of tensors whose trace is compiled at the first call with inputs of each shape.

    Args:
        function: as for `Replay`.

    Raises:
        UserError: at a call, if the function cannot be traced and compiled, or the compiled code
            gives other numbers.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self._compiled: dict[Any, Function] = {}

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """The function's outputs, up to rounding."""
        key = shapes(inputs)
        if key not in self._compiled:
            expected = self.function(*inputs)
            if not _are_finite(expected):  # the compiled code cannot be checked against them
                return expected
            try:
                self._compiled[key] = self._compile(inputs, expected)
            except Exception as error:  # the compiler's own, of many kinds
                lines = str(error).strip().splitlines()
                why = next((line for line in lines if not line.endswith("raised:")), "failed")
                raise UserError(f"hardware.compile=true: {why}; accepted here is false") from error
        outputs = self._compiled[key](*inputs)
        return [output.clone() for output in outputs]  # the next call may reuse their memory

    def _compile(self, inputs: Sequence[Tensor], expected: Sequence[Tensor]) -> Function:
        graph = traced(self.function, inputs)
        simplify(graph)
        mode = "reduce-overhead" if inputs[0].is_cuda else None  # CUDA graphs
        compiled: Function = torch.no_grad()(torch.compile(graph, dynamic=False, mode=mode))
        relative = SHORTER_ROUNDING if _has_shorter_products(graph) else ROUNDING
        if not is_rounding(self.function, inputs, expected, compiled(*inputs), relative):
            raise ArithmeticError("the compiled code gives other numbers")
        return compiled


class Replay:
    """A function of tensors that is replayed whenever its inputs have shapes seen before.

    A trace is trusted only after it gave exactly the function's outputs on inputs other than those
    it was made from (on a GPU, where products may be summed in another order, up to rounding). If
    it did not, the function itself runs from then on. So does one that draws random numbers, as
    dropout does: to trace it would draw more of them, and a resumed run, which traces anew, would
    go on with others.

    Args:
        function: tensors in, tensors out. Between calls, only the inputs, the values of tensors
            that it refers to, and torch's random numbers may change: no counters.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self._traces: dict[Any, Function] = {}
        self._trusted: dict[Any, bool] = {}

    @property
    def trusted(self) -> int:
        """The number of input shapes for which the function is now replayed."""
        return sum(self._trusted.values())

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """The function's outputs."""
        key = shapes(inputs)
        trusted = self._trusted.get(key)
        if trusted:
            return self._traces[key](*inputs)
        if key not in self._traces:
            with Count() as count:
                outputs = self.function(*inputs)
            give_back_freed_memory()  # otherwise a trace's objects would be scattered in it
            traceable = count.operations <= MOST_OPERATIONS and not count.random
            self._traces[key] = self._trace(inputs) if traceable else self.function
            return outputs
        outputs = self.function(*inputs)
        untried = trusted is None and self._traces[key] is not self.function
        if untried and _are_finite(outputs):  # NaN equals nothing, so it cannot confirm a trace
            give_back_freed_memory()  # a replay has its own memory
            self._trusted[key] = self._check(key, inputs, outputs)
        return outputs

    def _check(self, key: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> bool:
        """Whether a trace gives these outputs; on a GPU, its CUDA graph then replaces it."""
        trace = self._traces[key]
        try:
            if not agree(self.function, inputs, outputs, trace(*inputs)):
                return False
        except RuntimeError:  # an operation of the trace that works with other values only
            return False
        if inputs[0].is_cuda:
            is_right = partial(agree, self.function, inputs, outputs)
            self._traces[key] = graph_of(trace, inputs, is_right) or trace
        return True

    def _trace(self, inputs: Sequence[Tensor]) -> Function:
        try:
            graph = traced(self.function, inputs)
        except Exception:  # a user's network may do anything that cannot be traced
            return self.function
        simplify(graph)
        if inputs[0].is_cuda:
            share_results(graph)  # a CUDA graph has its own memory and needs no plan
        else:
            plan_memory(graph)
        return _code_of(graph)


class Count(TorchDispatchMode):
    """Counts the operations that torch runs, and records whether any draws random numbers."""

    operations = 0
    random = False

    @override
    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        self.operations += 1
        self.random |= torch.Tag.nondeterministic_seeded in function.tags
        return function(*arguments, **(options or {}))


def _are_finite(outputs: Sequence[Tensor]) -> bool:
    return all(bool(torch.isfinite(output).all()) for output in outputs)


def agree(
    function: Function,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    found: Sequence[Tensor],
) -> bool:
    """Whether `found` equals a function's outputs; on a GPU, up to rounding."""
    if len(outputs) == len(found) and all(map(torch.equal, outputs, found)):
        return True
    return inputs[0].is_cuda and is_rounding(function, inputs, outputs, found)


def _has_shorter_products(graph: GraphModule) -> bool:
    values = [node.meta.get("val") for node in graph.graph.nodes]
    short = any(isinstance(x, Tensor) and x.dtype is torch.bfloat16 for x in values)
    return short or torch.backends.cuda.matmul.allow_tf32


def _code_of(graph: GraphModule) -> Function:
    """A trace's code without its graph, which takes more memory."""
    held = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    own = SimpleNamespace(**{name: getattr(graph, name) for name in held})
    code: Function = torch.no_grad()(partial(type(graph).forward, own))
    return code


def shapes(inputs: Sequence[Tensor]) -> Any:
    """Everything about tensors that a trace depends on: all but their values."""
    return tuple((tuple(x.shape), x.stride(), x.dtype, x.device) for x in inputs)


class ReplayedGradient:
    """The meta-gradient of tasks, replayed if possible.

    Args:
        meta_loss: losses [T] and metrics [T] of tasks.
        parameters: the meta-parameters.
        compiled: compile the meta-gradient instead.
    """

    def __init__(
        self,
        meta_loss: Callable[[TaskBatch], tuple[Tensor, dict[str, Tensor]]],
        parameters: Sequence[nn.Parameter],
        compiled: bool = False,
    ) -> None:
        self._meta_loss, self._parameters = meta_loss, parameters
        self._kind = Compiled if compiled else Replay
        self._replays: dict[Any, Compiled | Replay] = {}
        self._metrics: dict[Any, list[str]] = {}
        self._used: dict[Any, list[nn.Parameter]] = {}

    @property
    def trusted(self) -> int:
        """The number of kinds of batches for which the meta-gradient is now replayed."""
        return sum(each.trusted for each in self._replays.values() if isinstance(each, Replay))

    def __call__(self, tasks: TaskBatch, total: int) -> dict[str, Tensor]:
        """Add these tasks' part of the mean over `total` tasks to `.grad`; returns metrics [T]."""
        inputs = (tasks.support.x, tasks.support.y, tasks.query.x, tasks.query.y)
        kind = total, shapes(inputs)  # a network may use different parameters for other shapes
        if kind not in self._replays:
            self._replays[kind] = self._kind(partial(self._gradients, kind))
        outputs = self._replays[kind](*inputs)
        used, metrics = self._used[kind], self._metrics[kind]
        for parameter, gradient in zip(used, outputs[: len(used)], strict=True):
            add_gradient(parameter, gradient)
        return dict(zip(metrics, outputs[len(used) :], strict=True))

    def _gradients(self, kind: tuple[int, Any], *sides: Tensor) -> list[Tensor]:
        total, _ = kind
        support_x, support_y, query_x, query_y = sides
        tasks = TaskBatch(Examples(support_x, support_y), Examples(query_x, query_y))
        loss, metrics = self._meta_loss(tasks)
        gradients = torch.autograd.grad(loss.sum() / total, self._parameters, allow_unused=True)
        pairs = zip(self._parameters, gradients, strict=True)
        self._used[kind] = [parameter for parameter, gradient in pairs if gradient is not None]
        self._metrics[kind] = list(metrics)
        own = [gradient for gradient in gradients if gradient is not None]
        return [*own, *(values.detach() for values in metrics.values())]


def add_gradient(parameter: nn.Parameter, gradient: Tensor) -> None:
    """Add a gradient to `.grad`, as `backward` does."""
    before = parameter.grad
    parameter.grad = gradient if before is None else before + gradient


class InnerLearner(Protocol):
    """What `ReplayedInnerGradient` needs of a learner."""

    network: nn.Module

    def inner_gradient(
        self, params: Params, batch: Examples, create_graph: bool
    ) -> tuple[dict[str, Tensor], Tensor]:
        """See `MetaLearner`."""


class ReplayedInnerGradient:
    """A learner's gradients of inner losses, as constants, replayed if possible."""

    def __init__(self, learner: InnerLearner) -> None:
        self._learner = learner
        self._names = [name for name, _ in learner.network.named_parameters()]
        self._adapted: list[str] = []
        self._replay = Replay(self._gradients)

    @property
    def trusted(self) -> int:
        """The number of kinds of parameters and batches for which it is now replayed."""
        return self._replay.trusted

    def __call__(self, params: Params, batch: Examples) -> tuple[dict[str, Tensor], Tensor]:
        """See `MetaLearner.inner_gradient`."""
        values = [params[name] for name in self._names]
        *gradients, losses = self._replay(*values, batch.x, batch.y)
        return dict(zip(self._adapted, gradients, strict=True)), losses

    def _gradients(self, *given: Tensor) -> list[Tensor]:
        *values, x, y = given
        params = dict(zip(self._names, values, strict=True))
        gradient, losses = self._learner.inner_gradient(params, Examples(x, y), create_graph=False)
        self._adapted = list(gradient)
        return [*gradient.values(), losses.detach()]
