"""Rewrites a trace with fewer and faster tensor operations that give the same bits."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

aten: Any = torch.ops.aten

VIEWS = {
    *(aten.detach, aten.expand, aten.permute, aten.transpose, aten.unsqueeze, aten.squeeze),
    *(aten.view, aten.select, aten.slice, aten.t, aten.as_strided),
}
"""Operations whose results are their first argument's own numbers."""

_LIKE = {
    *(aten.ones_like, aten.zeros_like, aten.full_like),
    *(aten.new_ones, aten.new_zeros, aten.new_full),
}
"""Operations that use only their argument's shape and type, which are the same at each replay."""


def traced(function: Callable[..., Any], inputs: Sequence[Tensor]) -> GraphModule:
    """A function's tensor operations for inputs like these, found without computing anything.

    `meta["val"]` of each node is its result as a fake tensor, without numbers.
    """
    trace = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)
    graph: GraphModule = trace(*inputs)
    return graph


def simplify(graph: GraphModule) -> None:
    """Make a trace shorter, in place.

    Args:
        graph: from `traced`; left unchanged if it changes tensors in place.
    """
    if changes_in_place(graph):
        return
    simpler = _Simpler(graph)
    for node in list(graph.graph.nodes):
        if isinstance(node.target, OpOverload):
            simpler.visit(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def changes_in_place(graph: GraphModule) -> bool:
    """Whether any operation of a trace changes a tensor in place."""
    targets = [node.target for node in graph.graph.nodes if isinstance(node.target, OpOverload)]
    return any(target._schema.is_mutable for target in targets)


def stored(graph: GraphModule, node: Node, value: Tensor, place: int = 0) -> Node:
    """A new node before `node`: a tensor that the trace keeps, for the node's result `place`."""
    name = f"stored_{node.name}_{place}"
    graph.register_buffer(name, value, persistent=False)
    with graph.graph.inserting_before(node):
        kept = graph.graph.get_attr(name)
    kept.meta["val"] = value
    return kept


def store_view(graph: GraphModule, node: Node) -> bool:
    """Keep a view of a kept tensor: a view of a parameter follows the parameter's values.

    Returns whether the node is such a view and is not an output of the trace.
    """
    given: Any = node.args[0] if node.args else None
    kind = getattr(node.target, "overloadpacket", None)
    if kind not in VIEWS or not isinstance(given, Node) or given.op != "get_attr":
        return False
    if _is_returned(node):
        return False
    value = operator.attrgetter(str(given.target))(graph)
    with torch.no_grad():
        view = node.target(value, *node.args[1:], **node.kwargs)  # type: ignore[operator]
    node.replace_all_uses_with(stored(graph, node, view))
    return True


class _Simpler:
    """Replaces operations of a graph, visited in the graph's order."""

    def __init__(self, graph: GraphModule) -> None:
        self.graph = graph
        self.constants: dict[Node, Tensor] = {}
        self.rules: dict[Any, Callable[[Node], None]] = {
            aten.pow: self._power,
            aten.add: partial(self._drop_neutral, 0),
            aten.mul: self._product,
            aten.bmm: self._outer_product,
            aten.relu: self._clamp,
            aten.view: self._without_ones,
            aten.detach: self._same,
        }

    def visit(self, node: Node) -> None:
        """Simplify one operation, if a rule applies."""
        kind: Any = node.target.overloadpacket  # type: ignore[union-attr]
        if self._is_constant(node, kind):
            kept = stored(self.graph, node, self._computed(node))
            self.constants[kept] = kept.meta["val"]
            node.replace_all_uses_with(kept)
            return
        if store_view(self.graph, node):
            return
        if kind in self.rules:
            self.rules[kind](node)

    def _is_constant(self, node: Node, kind: Any) -> bool:
        given = node.all_input_nodes
        of_constants = bool(given) and self.constants.keys() >= set(given)
        constant = kind in _LIKE or _is_power(node, 0) or of_constants
        return constant and not _is_returned(node)

    @torch.no_grad()
    def _computed(self, node: Node) -> Tensor:
        """The value of a constant; inputs whose values it does not use may hold anything."""

        def value(given: Node) -> Tensor:
            if given in self.constants:
                return self.constants[given]
            like = given.meta["val"]
            options = {"dtype": like.dtype, "device": like.device}
            return torch.empty_strided(like.shape, like.stride(), **options)

        args, kwargs = map_arg(node.args, value), map_arg(node.kwargs, value)
        result: Tensor = node.target(*args, **kwargs)  # type: ignore[operator]
        return result

    @staticmethod
    def _same(node: Node) -> None:
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]

    def _power(self, node: Node) -> None:
        if _is_power(node, 1):
            self._same(node)

    def _drop_neutral(self, neutral: int, node: Node) -> None:
        """Drop an operand that changes nothing, if the other has the result's memory layout."""
        for constant, other in (node.args, node.args[::-1]) if not node.kwargs else ():
            if not (isinstance(other, Node) and constant in self.constants):
                continue
            value = self.constants[constant]  # type: ignore[index]
            if _lie_alike(other, node) and bool((value == neutral).all()):
                node.replace_all_uses_with(other)
                return

    def _product(self, node: Node) -> None:
        """Replace a tensor's negative times a number by the tensor times the number's negative."""
        given, factor = node.args
        if _is(given, aten.neg) and isinstance(factor, float):
            (positive,) = given.args  # type: ignore[union-attr]
            if _lie_alike(positive, given):
                node.args = (positive, -factor)
        self._drop_neutral(1, node)

    def _outer_product(self, node: Node) -> None:
        """Replace a matrix product over an inner dimension of 1 by an elementwise product.

        Not on a GPU, where the matrix product may be in tf32.
        """
        given = node.args[0].meta["val"]  # type: ignore[union-attr]
        if given.shape[-1] == 1 and given.device.type == "cpu":
            node.target = aten.mul.Tensor

    @staticmethod
    def _clamp(node: Node) -> None:
        """Replace a ReLU by an equal clamp, which torch calls faster."""
        node.target, node.args = aten.clamp_min.default, (node.args[0], 0)

    @staticmethod
    def _without_ones(node: Node) -> None:
        """Merge a sum that keeps its dimensions with a view that removes them."""
        given: Any = node.args[0]
        if not _is(given, aten.sum) or len(given.args) < 3 or len(given.users) > 1:
            return
        total, dimensions, _ = given.args
        shape = total.meta["val"].sum(dimensions).shape
        if shape == node.meta["val"].shape:
            node.target, node.args = given.target, (total, dimensions)


def _lie_alike(one: Any, other: Any) -> bool:
    """Whether two tensors have the same shape, type and memory layout.

    With another layout, products of the tensors would round differently.
    """
    first, second = one.meta["val"], other.meta["val"]
    alike = first.shape == second.shape and first.dtype == second.dtype
    return bool(alike and first.stride() == second.stride())


def _is_returned(node: Node) -> bool:
    """Whether the trace returns this result, which the caller may then change."""
    return any(user.op == "output" for user in node.users)


def _is_power(node: Node, exponent: int) -> bool:
    return _is(node, aten.pow) and node.args[1] in (exponent, float(exponent))


def _is(node: Any, kind: Any) -> bool:
    return isinstance(node, Node) and getattr(node.target, "overloadpacket", None) is kind
