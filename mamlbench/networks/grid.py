"""Positions of the image patches that a convolution multiplies with its kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property


@dataclass(frozen=True)
class Grid:
    """Where the patches of one image lie.

    Attributes:
        size: height and width of the image.
        kernel: side of a patch.
        stride: from one patch to the next.
    """

    size: tuple[int, int]
    kernel: int
    stride: int

    @property
    def patches(self) -> tuple[int, int]:
        """Patches down and across, with SAME padding."""
        return -(-self.size[0] // self.stride), -(-self.size[1] // self.stride)

    @cached_property
    def numbers(self) -> list[int]:
        """Image, patches, kernel, stride, and the padding above and to the left."""
        (top, _), (left, _) = self.padding
        return [*self.size, *self.patches, self.kernel, self.stride, top, left]

    @property
    def same_on_both_sides(self) -> bool:
        """Whether maps are as large as images, and the padding as wide on either side."""
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
    """The same grid each time, with all that it has worked out."""
    return Grid(size, kernel, stride)
