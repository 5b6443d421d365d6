"""Positions of the image patches that a convolution multiplies with its kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property


@dataclass(frozen=True)
class Grid:
    """Positions of the patches of one image.

    Attributes:
        size: height and width of the image.
        kernel: side of a patch.
        stride: distance from one patch to the next.
    """

    size: tuple[int, int]
    kernel: int
    stride: int

    @property
    def patches(self) -> tuple[int, int]:
        """Number of patches down and across, with SAME padding."""
        return -(-self.size[0] // self.stride), -(-self.size[1] // self.stride)

    @cached_property
    def numbers(self) -> list[int]:
        """Image, patches, kernel, stride, and the padding above and to the left."""
        (top, _), (left, _) = self.padding
        return [*self.size, *self.patches, self.kernel, self.stride, top, left]

    @property
    def same_on_both_sides(self) -> bool:
        """Whether maps are as large as images and the padding is equal on both sides."""
        return self.stride == 1 and self.kernel % 2 == 1

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows above and below, columns left and right: TensorFlow's SAME."""
        down, across = (
            max((count - 1) * self.stride + self.kernel - side, 0)
            for count, side in zip(self.patches, self.size, strict=True)
        )
        return (down // 2, down - down // 2), (across // 2, across - across // 2)


@cache
def grid_of(size: tuple[int, int], kernel: int, stride: int) -> Grid:
    """A shared grid for these arguments, so that its cached values are computed once."""
    return Grid(size, kernel, stride)
