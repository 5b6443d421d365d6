"""Multi-layer perceptrons."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.errors import one_of, require
from mamlbench.networks.base import TaskNetwork
from mamlbench.networks.layers import Linear, Norm, Rows

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "leaky_relu": F.leaky_relu,
}
INITS = ("xavier", "truncated_normal")


class MLP(TaskNetwork):
    """Hidden layers of linear, normalisation and activation, then a linear layer.

    MAML's network for sinusoids is 1-40-40-1 with truncated normal weights; for Omniglot
    784-256-128-64-64-N with batch norm (arXiv 1703.03400, sections 5.1 and A.1).

    Args:
        input_shape: shape of one input; images are flattened.
        outputs: C.
        hidden: width of each hidden layer.
        activation: `relu`, `tanh` or `leaky_relu`.
        norm: see `mamlbench.networks.layers.Norm`.
        affine: `none`, `shift` or `scale_shift`.
        init: `xavier` (uniform) or `truncated_normal` (standard deviation 0.01, truncated at two).
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        hidden: tuple[int, ...] = (40, 40),
        activation: str = "relu",
        norm: str = "none",
        affine: str = "shift",
        init: str = "xavier",
    ) -> None:
        super().__init__()
        one_of("activation", activation, ACTIVATIONS)
        one_of("init", init, INITS)
        require(all(width >= 1 for width in hidden), "hidden", list(hidden), "widths of 1 or more")
        self.input_shape = input_shape
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[activation]
        widths = [math.prod(input_shape), *hidden]
        self.hidden = nn.ModuleList(Linear(i, o) for i, o in pairwise(widths))
        self.norm_layers = nn.ModuleList(Norm.of_vectors(w, norm, affine) for w in hidden)
        self.head = Linear(widths[-1], outputs)
        if init == "truncated_normal":
            for layer in (*self.hidden, self.head):
                nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02)

    @override
    def features(self, x: Tensor, rows: Rows) -> Tensor:
        x = x.flatten(2)
        for linear, norm in zip(self.hidden, self.norm_layers, strict=True):
            x = self.activation(norm(linear(x), rows))
        return x
