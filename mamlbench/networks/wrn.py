"""Wide residual networks (Zagoruyko and Komodakis, BMVC 2016, arXiv 1605.07146)."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from mamlbench.errors import BadValue, require
from mamlbench.networks.base import TaskNetwork
from mamlbench.networks.batch_norm import Then
from mamlbench.networks.layers import Conv2d, Linear, Norm, Rows

_STEM = 16
_GROUPS = 3
_RELU = Then(relu=True)


class WideResNet(TaskNetwork):
    """WRN-depth-width: a convolution, three groups of residual blocks, a spatial mean, a head.

    A group has (depth - 4) / 6 blocks of two convolutions; its channels are 16, 32 and 64 times
    `width`, and the second and third groups halve the picture. WRN-28-10 gives LEO its 640
    features, from pictures of 84x84 or 80x80.

    Args:
        input_shape: (channels, height, width).
        outputs: C.
        depth: convolutions, the three projections included: 10, 16, 22, 28, ...
        width: factor on the channels.
        embedding_layer: the convolution, counted from 1 and the last of its block, whose
            activations, averaged over positions, are the embedding (None: the features).
        norm: see `mamlbench.networks.layers.Norm`.
        affine: `none`, `shift` or `scale_shift`.

    Raises:
        BadValue: an impossible depth, width or embedding layer, or an input that is not an image.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        depth: int = 28,
        width: int = 10,
        embedding_layer: int | None = None,
        norm: str = "batch",
        affine: str = "scale_shift",
    ) -> None:
        super().__init__()
        if len(input_shape) != 3:
            found = f"a network for inputs of shape {list(input_shape)}, say linear"
            raise BadValue("_target_", "WideResNet", found)
        each, rest = divmod(depth - 4, 2 * _GROUPS)
        require(each >= 1 and rest == 0, "depth", depth, "10, 16, 22, 28, ... (6 n + 4)")
        require(width >= 1, "width", width, "1 or more")
        last = 1 + 2 * each * _GROUPS
        ends = embedding_layer is None or embedding_layer in range(3, last + 1, 2)
        require(
            ends, "embedding_layer", embedding_layer, f"null, or an odd number from 3 to {last}"
        )
        self.input_shape = input_shape
        self.conv = Conv2d(input_shape[0], _STEM)
        widths = [_STEM * width * 2**group for group in range(_GROUPS) for _ in range(each)]
        strides = [2 if block in (each, 2 * each) else 1 for block in range(len(widths))]
        self.blocks = nn.ModuleList(
            _Block(before, after, stride, norm, affine)
            for before, after, stride in zip([_STEM, *widths], widths, strides, strict=False)
        )
        self.norm_layer = Norm(widths[-1], norm, affine)
        self.head = Linear(widths[-1], outputs)
        self._embedded = len(widths) if embedding_layer is None else (embedding_layer - 1) // 2

    @override
    def features(self, x: Tensor, rows: Rows) -> Tensor:
        return self._activations(x, rows, len(self.blocks))

    @override
    def embedding(self, x: Tensor, rows: Rows) -> Tensor:
        return self._activations(x, rows, self._embedded)

    def _activations(self, x: Tensor, rows: Rows, count: int) -> Tensor:
        """Activations after `count` blocks, averaged over positions, [T, M, channels]."""
        x = self.conv(x.movedim(2, -1))  # channels last
        for block in self.blocks[:count]:
            x = block(x, rows)
        following = self.blocks[count] if count < len(self.blocks) else None
        after = following.first_norm if isinstance(following, _Block) else self.norm_layer
        return after(x, rows, _RELU).mean(dim=(2, 3))


class _Block(nn.Module):
    """Normalisation, ReLU and convolution, twice, added to the input or a projection of it."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str, affine: str) -> None:
        super().__init__()
        self.stride = stride
        self.first_norm = Norm(inputs, norm, affine)
        self.first = Conv2d(inputs, outputs, stride)
        self.second_norm = Norm(outputs, norm, affine)
        self.second = Conv2d(outputs, outputs)
        changes = inputs != outputs or stride != 1
        self.projection = Linear(inputs, outputs) if changes else None

    @override
    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        activated = self.first_norm(x, rows, _RELU)
        y = self.first(activated)
        y = self.second(self.second_norm(y, rows, _RELU))
        if self.projection is None:
            return x + y
        # a 1x1 convolution with this stride
        seen = activated[:, :, :: self.stride, :: self.stride]
        return y + self.projection(seen.flatten(1, 3)).view(y.shape)
