"""Removes repeated operations from a trace."""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import GraphModule, Node

from mamlbench.replay.simplify import changes_in_place


def share_results(graph: GraphModule) -> None:
    """Make operations with the same arguments share one result, in place.

    Results that derivatives of several orders all need, such as the patches of images, are then
    kept from the first use to the last: this takes memory and saves time.

    Args:
        graph: from `traced`; left unchanged if it changes tensors in place.
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
    """A key that is equal for nodes with the same result; None for nodes that never share one."""
    if node.op == "get_attr":
        return node.target
    if node.op != "call_function":
        return None
    random = torch.Tag.nondeterministic_seeded
    if isinstance(node.target, OpOverload) and random in node.target.tags:
        return None
    return node.target, _hashable(node.args), _hashable(dict(node.kwargs))


def _hashable(value: Any) -> Any:
    """Arguments with the types of numbers, because 1 and 1.0 can give different results."""
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(each) for each in value)
    if isinstance(value, dict):
        return tuple((name, _hashable(each)) for name, each in sorted(value.items()))
    if isinstance(value, slice):
        return "slice", value.start, value.stop, value.step
    return type(value), value
