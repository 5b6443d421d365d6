"""Plans the memory of a trace: intermediate results get fixed places in one block.

Sizes and lifetimes are known from the trace, so calls need not allocate: the block is little larger
than what is alive at the fullest moment, where an allocator would take several times that. Views
are made only once.
"""

from __future__ import annotations

import operator
from bisect import insort
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node

from mamlbench.native.operations import FILLING
from mamlbench.replay.simplify import aten, changes_in_place, store_view, stored

_ALIGNMENT = 64  # bytes: a cache line

_WITH_OUT = {
    *("add", "sub", "mul", "div", "neg", "pow", "square", "sqrt", "rsqrt", "exp", "log", "tanh"),
    *("bmm", "baddbmm", "addcmul", "clamp_min"),
}
"""Operations that torch binds under their own names, with the same arguments in the same order plus
`out` for the result."""

_OTHERS_WITH_OUT = {
    aten.sum.dim_IntList: (torch.sum, "out"),
    aten.mean.dim: (torch.mean, "out"),
    aten.clone.default: (aten.clone.out, "out"),
    aten.threshold_backward.default: (aten.threshold_backward.grad_input, "grad_input"),
    aten._log_softmax.default: (aten._log_softmax.out, "out"),
    aten._log_softmax_backward_data.default: (aten._log_softmax_backward_data.out, "out"),
}

_ONLY_CONTIGUOUS = {aten._log_softmax.default, aten._log_softmax_backward_data.default}
"""Operations that write wrong numbers to an `out` with other strides."""

_BOUND = _WITH_OUT | {"sum", "transpose", "unsqueeze", "squeeze", "permute"}


@dataclass(eq=False)
class _Slot:
    """Room for one result: its bytes, and the first and the last node that need it."""

    size: int
    first: int
    last: int
    offset: int = 0

    def meets(self, other: _Slot) -> bool:
        """Whether both are needed at the same time."""
        return self.first <= other.last and other.first <= self.last


def plan_memory(graph: GraphModule) -> None:
    """Give the results of a simplified trace fixed places, in place.

    Results that the trace returns, or may return a view of, get new memory at each call.
    """
    if not changes_in_place(graph):
        _Planner(graph).plan()
    for node in graph.graph.nodes:
        kind = getattr(getattr(node.target, "overloadpacket", None), "__name__", None)
        if kind in _BOUND and not any(name in node.kwargs for name in ("out", "grad_input")):
            node.target = getattr(torch, kind)  # quicker to call
        elif node.op == "get_attr" and not node.users:
            graph.graph.erase_node(node)
    graph.recompile()


class _Planner:
    def __init__(self, graph: GraphModule) -> None:
        self.graph = graph
        self.nodes = list(graph.graph.nodes)
        self.last_use: dict[int, int] = {}  # index of the last node to use each memory
        self.returned: set[int] = set()
        memories: dict[Node, set[int]] = {}
        for index, node in enumerate(self.nodes):
            used = {memory for given in node.all_input_nodes for memory in memories[given]}
            self.last_use.update(dict.fromkeys(used, index))
            if node.op == "output":
                self.returned = used
            # metadata of a view may name a result that `simplify` has replaced with an operand
            memories[node] = _memories(node) | (used if _is_view(node) else set())

    def plan(self) -> None:
        """Arrange the slots, then make the operations use them."""
        slots = {node: self._slots(index) for index, node in enumerate(self.nodes) if _fills(node)}
        every = [slot for own in slots.values() for slot in own if slot]
        if not every:
            return
        device = next(_results(node)[0].device for node, own in slots.items() if any(own))
        block = torch.empty(_arranged(every), dtype=torch.uint8, device=device)
        for node in self.nodes:
            own = slots.get(node, [])
            if any(own) or node.target in FILLING:
                self._place(node, own, block)
            elif store_view(self.graph, node):
                self.graph.graph.erase_node(node)

    def _slots(self, index: int) -> list[_Slot | None]:
        """Slots for the results of a node; None for results that are returned or have gaps."""
        node, slots = self.nodes[index], list[_Slot | None]()
        for result in _results(node):
            memory, size = _memory(result), result.numel() * result.element_size()
            last = self.last_use.get(memory, index)
            slot = _Slot(-(-size // _ALIGNMENT) * _ALIGNMENT, index, last)
            dense = result.untyped_storage().nbytes() == size > 0
            dense &= result.is_contiguous() or node.target not in _ONLY_CONTIGUOUS
            slots.append(slot if dense and memory not in self.returned else None)
        return slots

    def _place(self, node: Node, slots: list[_Slot | None], block: Tensor) -> None:
        """Make an operation write its results to the slots, and others read them there."""
        target: Any = node.target
        kept = [
            self._fresh(node, like)
            if slot is None
            else stored(self.graph, node, _room(block, slot, like), place)
            for place, (slot, like) in enumerate(zip(slots, _results(node), strict=True))
        ]
        single = isinstance(node.meta["val"], Tensor)
        if single:
            node.replace_all_uses_with(kept[0])
        for user in list(node.users):  # each takes one of several results
            user.replace_all_uses_with(kept[user.args[1]])  # type: ignore[index]
            self.graph.graph.erase_node(user)
        if target in FILLING:
            node.args = (kept[0] if single else tuple(kept), *node.args)
            node.target = FILLING[target]
        else:
            bound = getattr(torch, target.overloadpacket.__name__, None)
            node.target, name = _OTHERS_WITH_OUT.get(target, (bound, "out"))
            node.kwargs = {**node.kwargs, name: kept[0]}

    def _fresh(self, node: Node, like: Tensor) -> Node:
        """A node, before another, that allocates new memory at each call."""
        options: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
        with self.graph.graph.inserting_before(node):
            shape, strides = tuple(like.shape), like.stride()
            made = self.graph.graph.call_function(torch.empty_strided, (shape, strides), options)
        made.meta["val"] = like
        return made


def _fills(node: Node) -> bool:
    """Whether a node can write its results to given tensors."""
    if not isinstance(node.target, OpOverload):
        return False
    known = node.target in FILLING or node.target in _OTHERS_WITH_OUT
    return known or node.target.overloadpacket.__name__ in _WITH_OUT


def _results(node: Node) -> list[Tensor]:
    value = node.meta["val"]
    return [value] if isinstance(value, Tensor) else list(value)


def _memories(node: Node) -> set[int]:
    """The memory of a node's results."""
    value = node.meta.get("val")
    values = value if isinstance(value, (list, tuple)) else [value]
    return {_memory(each) for each in values if isinstance(each, Tensor)}


def _is_view(node: Node) -> bool:
    """Whether a node's results share the memory of its inputs."""
    if node.target is operator.getitem:  # one of several results, such as the pieces of a split
        return _is_view(node.args[0])  # type: ignore[arg-type]
    if not isinstance(node.target, OpOverload):
        return False
    return any(result.alias_info is not None for result in node.target._schema.returns)


def _memory(tensor: Tensor) -> int:
    number: int = tensor.untyped_storage()._cdata
    return number


def _arranged(slots: list[_Slot]) -> int:
    """Set offsets so that no two slots overlap in both place and time; returns the block's bytes.

    Largest slots first, each in the lowest gap that is free for as long as the slot is needed.
    """
    placed: list[_Slot] = []
    for slot in sorted(slots, key=lambda slot: -slot.size):
        offset = 0
        for other in placed:  # by offset
            if other.offset >= offset + slot.size:
                break
            if slot.meets(other):
                offset = max(offset, other.offset + other.size)
        slot.offset = offset
        insort(placed, slot, key=lambda slot: slot.offset)
    return max(slot.offset + slot.size for slot in slots)


def _room(block: Tensor, slot: _Slot, like: Tensor) -> Tensor:
    """A slot's part of the block, as a tensor like another."""
    size = like.numel() * like.element_size()
    own = block[slot.offset : slot.offset + size].view(like.dtype)
    return own.as_strided(like.shape, like.stride(), own.storage_offset())
