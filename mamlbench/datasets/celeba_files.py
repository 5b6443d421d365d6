"""CelebA's official files, and the attributes of its images as bits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from mamlbench.datasets.pictures import Picture, pictures_in
from mamlbench.datasets.store import ImageSet
from mamlbench.errors import UserError

_NAMES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose "
    "Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee "
    "Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard "
    "Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair "
    "Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie "
    "Young"
)
ATTRIBUTES = tuple(_NAMES.split())


def bits(names: Iterable[str]) -> int:
    """The attributes as bits of a number."""
    return sum(1 << ATTRIBUTES.index(name) for name in names)


def bits_of_images(images: ImageSet) -> np.ndarray:
    """The attributes of each image as bits: [n] int64."""
    by_class = [int(name[::-1], 2) for name in images.classes]
    return np.repeat(np.array(by_class, dtype=np.int64), images.counts)


def by_attributes(images: Path, table: Path) -> dict[str, list[Picture]]:
    """Pictures by their attributes: a string with a 0 or 1 for each of `ATTRIBUTES`.

    Args:
        images: folder or zip of the pictures.
        table: `list_attr_celeba.txt`.

    Raises:
        UserError: a file that is not CelebA's, or a listed picture that is missing.
    """
    there = {parts[-1]: picture for parts, picture in pictures_in(images)}
    found: dict[str, list[Picture]] = {}
    for name, own in _attributes(table).items():
        if name not in there:
            raise UserError(f"{images}: lacks {name}, which {table.name} lists")
        found.setdefault(own, []).append(there[name])
    return {name: sorted(found[name], key=lambda picture: picture.name) for name in sorted(found)}


def _attributes(path: Path) -> dict[str, str]:
    """Each picture's attributes; the file has the picture count, the names, and -1 or 1 each."""
    try:
        table = pd.read_csv(path, sep=r"\s+", skiprows=1, index_col=0)
        with path.open() as file:
            expected = int(file.readline())
        if len(table) != expected:
            raise ValueError(f"{len(table)} rows, but its first line says {expected}")
        values = table[list(ATTRIBUTES)].to_numpy()
        if not np.isin(values, (-1, 1)).all():
            raise ValueError("a value is neither -1 nor 1")
    except (ValueError, KeyError, IndexError, OSError) as error:
        reason = str(error).split("\n")[0][:200]
        raise UserError(f"{path}: not CelebA's official file ({reason})") from error
    digits = np.where(values > 0, "1", "0")
    return {name: "".join(row) for name, row in zip(table.index, digits, strict=True)}
