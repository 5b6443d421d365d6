"""One linear layer, for inputs that are already embeddings."""

from __future__ import annotations

import math

from torch import Tensor
from typing_extensions import override

from mamlbench.networks.base import TaskNetwork
from mamlbench.networks.layers import Linear, Norm, Rows


class LinearClassifier(TaskNetwork):
    """Logits that are linear in the input, as in LEO and its baselines on embeddings.

    Args:
        input_shape: shape of one input; it is flattened to D numbers.
        outputs: C.
        norm: normalisation of the inputs; see `mamlbench.networks.layers.Norm`.
        affine: `none`, `shift` or `scale_shift`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        norm: str = "none",
        affine: str = "none",
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.norm_layer = Norm.of_vectors(math.prod(input_shape), norm, affine)
        self.head = Linear(math.prod(input_shape), outputs)

    @override
    def features(self, x: Tensor, rows: Rows) -> Tensor:
        return self.norm_layer(x.flatten(2), rows)
