"""A function of tensors as one CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mamlbench.replay.rounding import Function

_LOG = logging.getLogger("mamlbench")


def graph_of(
    function: Function, inputs: Sequence[Tensor], is_right: Callable[[Sequence[Tensor]], bool]
) -> CudaGraph | None:
    """A function's CUDA graph; None, with the reason logged, if there is none or it is wrong.

    Args:
        function, inputs: see `CudaGraph`.
        is_right: whether given outputs are the function's.
    """
    try:
        graph = CudaGraph(function, inputs)
        if is_right(graph(*inputs)):
            return graph
        why = "the graph gives other numbers"
    except RuntimeError as error:
        why = str(error).split("\n")[0]
    _LOG.warning("steps run without a CUDA graph, and take longer: %s", why)
    return None


class CudaGraph:
    """All kernels of a function, launched by a single call of the driver.

    Args:
        function: tensors in, tensors out, all on one GPU. It must have run there before, because
            what it loads at its first call cannot be captured, and must not wait for the GPU. It
            may call functions that are such graphs themselves.
        inputs: tensors like those of later calls.

    Raises:
        RuntimeError: the function does something that cannot be captured.
    """

    def __init__(self, function: Function, inputs: Sequence[Tensor]) -> None:
        self._function = function
        self._inputs = [x.clone() for x in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = list(function(*self._inputs))

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """The function's outputs."""
        if torch.cuda.is_current_stream_capturing():  # a larger graph captures the kernels
            return self._function(*inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return [output.clone() for output in self._outputs]  # the next call reuses their memory
