"""A trace that computes nothing twice."""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import GraphModule, Node

from mamlbench.replay.simplify import changes_in_place


def share_results(graph: GraphModule) -> None:
    """Have operations with the same arguments share one result, in place.

    What derivatives of several orders compute of the same tensors, as the patches of images, is
    then kept from the first to the last: memory for time.

    Args:
        graph: as `traced` gives it; where it changes tensors in place it is left as it is.
    """
    if changes_in_place(graph):
        return
    first: dict[Any, Node] = {}
    for node in list(graph.graph.nodes):
        key = _key(node)
        if key is None:
            continue
        if key in first:
            node.replace_all_uses_with(first[key])
            graph.graph.erase_node(node)
        else:
            first[key] = node
    graph.recompile()


def _key(node: Node) -> Any:
    """What two nodes have in common that give the same; None where none do."""
    if node.op == "get_attr":
        return node.target
    if node.op != "call_function":
        return None
    random = torch.Tag.nondeterministic_seeded
    if isinstance(node.target, OpOverload) and random in node.target.tags:
        return None
    return node.target, _hashable(node.args), _hashable(dict(node.kwargs))


def _hashable(value: Any) -> Any:
    """Arguments, with the types of numbers: 1 and 1.0 can give other results."""
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(each) for each in value)
    if isinstance(value, dict):
        return tuple((name, _hashable(each)) for name, each in sorted(value.items()))
    if isinstance(value, slice):
        return "slice", value.start, value.stop, value.step
    return type(value), value
