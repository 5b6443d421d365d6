"""A network whose inputs are extended by a context of parameters."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.errors import UserError
from mamlbench.networks.base import TaskNetwork
from mamlbench.networks.layers import Linear, Rows


class WithContext(TaskNetwork):
    """A network built like another, with a context concatenated to each of its inputs.

    The context is a parameter with an input's shape, initially zero. For pictures it is additional
    channels.

    Args:
        network: the network to make wider; its parameters are not used.

    Raises:
        UserError: a module from outside this package.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, TaskNetwork):
            kind = type(network).__name__
            raise UserError(f"network: {kind} takes no context; mamlbench's own networks do")
        args, options = network.made_with
        made = inspect.signature(type(network).__init__).bind(network, *args, **options)
        self.input_shape = shape = network.input_shape
        made.arguments["input_shape"] = (2 * shape[0], *shape[1:])
        self.context = nn.Parameter(torch.zeros(shape))
        self.inner = type(network)(*made.args[1:], **made.kwargs)

    @property
    def head(self) -> Linear:  # type: ignore[override]
        """The last layer of the inner network."""
        return self.inner.head

    @override
    def features(self, x: Tensor, rows: Rows) -> Tensor:
        return self.inner.features(self._wider(x), rows)

    @override
    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        outputs: Tensor = self.inner(self._wider(x), rows)
        return outputs

    def _wider(self, x: Tensor) -> Tensor:
        """Inputs [T, M, C, ...] joined with the context of each task: [T, M, 2C, ...]."""
        own = self.context.dim() > len(self.input_shape)
        context = self.context.unsqueeze(1) if own else self.context
        return torch.cat([x, context.expand_as(x)], dim=2)
