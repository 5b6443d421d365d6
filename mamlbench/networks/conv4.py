"""The four-layer convolutional network of the few-shot literature."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from typing_extensions import override

from mamlbench.errors import BadValue, one_of, require
from mamlbench.networks.base import TaskNetwork
from mamlbench.networks.batch_norm import Then
from mamlbench.networks.layers import Conv2d, Linear, Norm, Rows
from mamlbench.networks.mlp import ACTIVATIONS

DOWNSAMPLINGS = ("stride", "pool", "pool_same")
HEAD_INITS = ("xavier", "normal", "zeros")
ORDERS = ("norm_activation_pool", "norm_pool_activation")


class Conv4(TaskNetwork):
    """Blocks of 3x3 convolution, normalisation, activation and halving, then a linear layer.

    Args:
        input_shape: (channels, height, width).
        outputs: C.
        filters: channels of every block.
        blocks: how many blocks.
        down: how a block halves its input: `stride` 2 in the convolution; `pool`, 2x2 maximum; or
            `pool_same`, 2x2 maximum that keeps the odd last row.
        order: `norm_activation_pool` (MAML) or `norm_pool_activation` (Reptile's mini-ImageNet).
        spatial_mean: average the last map over its positions instead of flattening it.
        activation: `relu`, `tanh` or `leaky_relu`.
        norm: see `mamlbench.networks.layers.Norm`.
        affine: `none`, `shift` or `scale_shift`.
        head_init: `xavier`; `normal` for a standard normal head as in MAML's Omniglot code; or
            `zeros`, from which the first inner step forms each class's weights from its mean
            features (arXiv 2106.15367), and training progresses sooner.

    Raises:
        BadValue: a wrong option, or an input that is not an image or too small for the blocks.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        filters: int = 64,
        blocks: int = 4,
        down: str = "stride",
        order: str = "norm_activation_pool",
        spatial_mean: bool = False,
        activation: str = "relu",
        norm: str = "batch",
        affine: str = "shift",
        head_init: str = "xavier",
    ) -> None:
        super().__init__()
        for option, value, choices in (
            ("down", down, DOWNSAMPLINGS),
            ("order", order, ORDERS),
            ("activation", activation, ACTIVATIONS),
            ("head_init", head_init, HEAD_INITS),
        ):
            one_of(option, value, choices)
        require(filters >= 1, "filters", filters, "1 or more")
        require(blocks >= 1, "blocks", blocks, "1 or more")
        channels, *size = _image(input_shape)
        self.input_shape = input_shape
        self.activation = ACTIVATIONS[activation]
        self.order, self.spatial_mean = order, spatial_mean
        inputs = [channels] + [filters] * (blocks - 1)
        stride = 2 if down == "stride" else 1
        self.convs = nn.ModuleList(Conv2d(i, filters, stride) for i in inputs)
        self.norm_layers = nn.ModuleList(Norm(filters, norm, affine) for _ in inputs)
        self.pool = Then(pool=down != "stride", keep_odd=down == "pool_same")
        places = 1
        for side in size:
            for _ in range(blocks):
                side = side // 2 if down == "pool" else -(-side // 2)
            places *= side
        if places == 0:
            raise BadValue("blocks", blocks, f"fewer: images of {size[0]}x{size[1]} vanish")
        self.head = Linear(filters if spatial_mean else filters * places, outputs)
        if head_init == "normal":
            nn.init.normal_(self.head.weight)
        elif head_init == "zeros":
            nn.init.zeros_(self.head.weight)

    def block(self, index: int) -> tuple[Conv2d, Norm]:
        """The convolution and the normalisation of a block."""
        conv, norm = self.convs[index], self.norm_layers[index]
        assert isinstance(conv, Conv2d)
        assert isinstance(norm, Norm)
        return conv, norm

    @override
    def features(self, x: Tensor, rows: Rows) -> Tensor:
        x = x.movedim(2, -1)  # channels last
        for conv, norm in zip(self.convs, self.norm_layers, strict=True):
            if self.activation is ACTIVATIONS["relu"]:  # ReLU and maximum commute
                x = norm(conv(x), rows, replace(self.pool, relu=True))
            elif self.order == "norm_activation_pool":
                x = self.pool(self.activation(norm(conv(x), rows)))
            else:
                x = self.activation(norm(conv(x), rows, self.pool))
        return x.mean(dim=(2, 3)) if self.spatial_mean else x.flatten(2)


def _image(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 3:
        raise BadValue("_target_", "Conv4", f"a network for inputs of shape {list(shape)}, say mlp")
    return shape
