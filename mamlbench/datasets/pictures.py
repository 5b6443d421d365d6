"""Pictures in folders, zips or arrays, and how they become pixels."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mamlbench.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


@dataclass(frozen=True)
class Picture:
    """One picture, not yet decoded.

    Attributes:
        name: where it is, for messages.
        read: returns it encoded, as in an image file, or as pixels, uint8 [height, width,
            channels].
    """

    name: str
    read: Callable[[], bytes | np.ndarray]

    def open(self) -> Image.Image:
        """The decoded picture; any exception means that it is broken."""
        content = self.read()
        if isinstance(content, np.ndarray):
            return Image.fromarray(content)
        image = Image.open(BytesIO(content))
        image.load()
        return image


@dataclass(frozen=True)
class Decoding:
    """How a picture becomes pixels.

    Attributes:
        channels: 1 (grey) or 3 (colour).
        height: pixels.
        width: pixels.
        resize: a name among `FILTERS`; pictures that already have this size are not resized.
    """

    channels: int
    height: int
    width: int
    resize: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the decoded picture."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class Source:
    """A dataset's pictures.

    Attributes:
        name: short name for file names and messages.
        files: returns the files that its content depends on.
        read: returns the pictures of each class, by class name, in the order of storage; raises
            `UserError` if something is missing or broken.
    """

    name: str
    files: Callable[[], list[Path]]
    read: Callable[[], dict[str, list[Picture]]]


def decode(picture: Picture, decoding: Decoding) -> np.ndarray:
    """Pixels of the picture, [channels, height, width] uint8.

    Transparent parts become white, and the picture is turned to its EXIF orientation.

    Raises:
        UserError: the picture does not decode.
    """
    try:
        image = ImageOps.exif_transpose(picture.open())
        image = _flat(image, "L" if decoding.channels == 1 else "RGB")
        size = (decoding.width, decoding.height)
        if image.size != size:
            image = image.resize(size, FILTERS[decoding.resize])
        pixels = np.asarray(image)
    except Exception as error:
        # Pillow's own message contains the buffer's memory address
        why = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{picture.name}: this picture cannot be decoded ({why})") from error
    return pixels.reshape(decoding.height, decoding.width, -1).transpose(2, 0, 1)


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """To 8-bit grey or colour; Pillow alone would clip 16-bit grey and show transparent pixels."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, colours)
    return image.convert(mode)


def find(folder: Path, name: str) -> Path | None:
    """`folder/name` if it is a folder, or `folder/name.zip`, or None."""
    path, archive = folder / name, folder / f"{name}.zip"
    return path if path.is_dir() else archive if archive.is_file() else None


def files_in(path: Path) -> list[Path]:
    """The zip itself, or the pictures in the folder and below, sorted; links are followed.

    Raises:
        UserError: a link that leads back to a folder above it.
    """
    if path.is_file():
        return [path]
    return sorted(file for file in _below(path) if _is_picture(file.relative_to(path).parts))


def _below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        raise UserError(f"{folder}: leads back to {real}; accepted are folders without such links")
    for entry in folder.iterdir():
        if not _is_hidden(entry.name):
            yield from _below(entry, (*above, real)) if entry.is_dir() else [entry]


def pictures_in(path: Path, advice: str = "") -> list[tuple[tuple[str, ...], Picture]]:
    """All pictures of a folder or zip, sorted, each with the parts of its path inside.

    Args:
        path: a folder or a zip.
        advice: added to the message about a zip that does not open.

    Raises:
        UserError: not a zip, or a truncated one.
    """
    if path.is_dir():
        return [
            (file.relative_to(path).parts, Picture(str(file), file.read_bytes))
            for file in files_in(path)
        ]
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a complete zip file ({error}){advice}") from error
    members = ((PurePosixPath(name).parts, name) for name in archive.namelist())
    kept = sorted((parts, name) for parts, name in members if _is_picture(parts))
    return [
        (parts, Picture(f"{path}: {name}", partial(archive.read, name))) for parts, name in kept
    ]


def class_folders(path: Path) -> dict[str, list[Picture]]:
    """The pictures of a folder or zip, by the name of the folder that holds them.

    Raises:
        UserError: as `pictures_in`, or a picture in no folder.
    """
    found: dict[str, list[Picture]] = {}
    for parts, picture in pictures_in(path):
        if len(parts) < 2:
            raise UserError(f"{picture.name}: this picture is not in a class folder")
        found.setdefault(parts[-2], []).append(picture)
    return dict(sorted(found.items()))


def _is_picture(parts: tuple[str, ...]) -> bool:
    return not any(map(_is_hidden, parts)) and parts[-1].lower().endswith(SUFFIXES)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
