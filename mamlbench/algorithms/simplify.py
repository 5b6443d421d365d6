"""A trace of tensor operations with fewer of them, and quicker ones, that gives the same bits."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Interpreter, Node

aten: Any = torch.ops.aten

_VIEWS = {aten.detach, aten.expand, aten.transpose, aten.unsqueeze, aten.view}

_LIKE = {aten.ones_like, aten.zeros_like, aten.full_like}
"""Of their argument they take the shape alone, which is the same at each replay."""

_BOUND = {
    *("add", "sub", "mul", "div", "neg", "pow", "square", "sqrt", "rsqrt", "exp", "log"),
    *("bmm", "baddbmm", "addcmul", "relu", "tanh"),
    *("transpose", "unsqueeze", "squeeze", "detach"),
}
"""Operations that torch binds under their own names, with the same arguments in the same order."""


def simplify(graph: GraphModule, inputs: Sequence[Tensor]) -> None:
    """Make a trace shorter, in place.

    Args:
        graph: a trace by `make_fx`; where it changes tensors in place it is left as it is.
        inputs: what it was made of; any others must have their shapes.
    """
    nodes = [node for node in graph.graph.nodes if isinstance(node.target, OpOverload)]
    if any(node.target._schema.is_mutable for node in nodes):
        return
    values = _Values(graph)
    with torch.no_grad():
        values.run(*inputs)
    simpler = _Simpler(graph, values.of, values.constants)
    for node in nodes:
        simpler.visit(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


class _Values(Interpreter):
    """What each operation gave for some inputs.

    Attributes:
        of: by node, single tensors without their numbers.
        constants: those that are the same for any inputs.
    """

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self.of: dict[Node, Tensor] = {}
        self.constants: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        """Run an operation and keep what it gives."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.of[n] = torch.empty_strided(
                result.shape, result.stride(), dtype=result.dtype, device="meta"
            )
            if self._is_constant(n):
                self.constants[n] = result.clone()
        return result

    def _is_constant(self, n: Node) -> bool:
        kind = getattr(n.target, "overloadpacket", None)
        power_of_zero = kind is aten.pow and isinstance(n.args[1], float | int) and n.args[1] == 0
        given = n.all_input_nodes
        of_constants = bool(given) and self.constants.keys() >= set(given)
        return kind in _LIKE or power_of_zero or of_constants


class _Simpler:
    """Replaces operations of a graph, in the order in which they stand there."""

    def __init__(
        self, graph: GraphModule, values: dict[Node, Tensor], constants: dict[Node, Tensor]
    ) -> None:
        self.graph, self.values, self.constants = graph, values, constants
        self.rules: dict[Any, Callable[[Node], None]] = {
            aten.pow: self._power,
            aten.add: partial(self._drop_neutral, 0),
            aten.mul: partial(self._drop_neutral, 1),
            aten.bmm: self._outer_product,
            aten.transpose: self._turn,
            aten.detach: self._same,
        }

    def visit(self, node: Node) -> None:
        """Make one operation simpler, or leave it."""
        kind: Any = node.target.overloadpacket  # type: ignore[union-attr]
        if node in self.constants:
            value = self.constants[node]
            self.constants[self._stored(node, value)] = value
            return
        given: Any = node.args[0] if node.args else None
        if kind in _VIEWS and isinstance(given, Node) and given.op == "get_attr":
            # a view of a parameter stays a view of it when the optimiser changes its values
            value = operator.attrgetter(str(given.target))(self.graph)
            with torch.no_grad():
                self._stored(node, node.target(value, *node.args[1:], **node.kwargs))  # type: ignore[operator]
            return
        if kind in self.rules:
            self.rules[kind](node)
        if isinstance(node.target, OpOverload) and kind.__name__ in _BOUND:
            node.target = getattr(torch, kind.__name__)  # quicker to call

    def _stored(self, node: Node, value: Tensor) -> Node:
        """Have a stored tensor in place of an operation."""
        name = f"stored_{node.name}"
        self.graph.register_buffer(name, value, persistent=False)
        with self.graph.graph.inserting_before(node):
            stored = self.graph.graph.get_attr(name)
        node.replace_all_uses_with(stored)
        self.values[stored] = value
        return stored

    @staticmethod
    def _same(node: Node) -> None:
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]

    def _power(self, node: Node) -> None:
        if not isinstance(node.args[1], Node) and node.args[1] == 1:
            self._same(node)

    def _drop_neutral(self, neutral: int, node: Node) -> None:
        """An operand that changes nothing, where the other lies in memory as the result does.

        In another order of its numbers, the products that it goes into would round otherwise.
        """
        for constant, other in (node.args, node.args[::-1]) if not node.kwargs else ():
            if not (isinstance(other, Node) and constant in self.constants):
                continue
            value, same = self.constants[constant], self.values[other]  # type: ignore[index]
            result = self.values[node]
            kept = same.shape == result.shape and same.stride() == result.stride()
            if kept and same.dtype == result.dtype and bool((value == neutral).all()):
                node.replace_all_uses_with(other)
                return

    def _outer_product(self, node: Node) -> None:
        """A product over an inner dimension of 1 is one of each pair of numbers."""
        if self.values[node.args[0]].shape[-1] == 1:  # type: ignore[index]
            node.target = torch.mul

    @staticmethod
    def _turn(node: Node) -> None:
        given: Any = node.args[0]
        if _is(given, aten.transpose) and set(given.args[1:]) == set(node.args[1:]):
            node.replace_all_uses_with(given.args[0])


def _is(node: Any, kind: Any) -> bool:
    """Whether a node is an operation of a kind, under either of its names."""
    if not isinstance(node, Node):
        return False
    return getattr(node.target, "overloadpacket", node.target) in (
        kind,
        getattr(torch, kind.__name__, kind),
    )
