"""Pickled arrays of images or embeddings, read without running code from the pickle."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from mamlbench.datasets.pictures import Picture
from mamlbench.errors import UserError

# what a pickled numpy array needs; older and newer numpy name their modules differently
_NUMPY = {"_reconstruct", "scalar", "_frombuffer"}
_ALLOWED = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in _NUMPY),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds numbers, strings, lists, dicts and numpy arrays; refuses anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it would import {module}.{name}")
        return super().find_class(module, name)


def unpickled(file: IO[bytes]) -> dict[str, Any]:
    """The dict in a pickle, with its keys as text even if Python 2 wrote them.

    Raises:
        UnpicklingError: the pickle asks to run code.
        Exception: whatever else reading a file of another kind raises.
    """
    content = plain_pickle(file)
    return {_text(key): value for key, value in content.items()}


def plain_pickle(file: IO[bytes]) -> Any:
    """The content of a pickle of numbers, text, containers and arrays; raises as `unpickled`."""
    return _ArrayUnpickler(file, encoding="latin1").load()


@contextmanager
def stumbling(path: Path, what: str, accepted: str) -> Iterator[None]:
    """Turn any exception while `path` is read into a `UserError` of one line.

    Args:
        path: the file, or the first of several that are read together.
        what: what it should be.
        accepted: the accepted content, beginning with "is" or "are".
    """
    try:
        yield
    except Exception as error:
        reason = str(error).split("\n")[0][:200] or type(error).__name__
        raise UserError(f"{path}: not {what} ({reason}); accepted {accepted}") from error


def pickled_pictures(path: Path) -> dict[str, list[Picture]]:
    """The pictures of each class in a pickle, in the order of class names.

    Two layouts are known: `image_data` [n, height, width, 3] with `class_dict` (name to a list of
    rows), and `data` (the same array) with `labels` (one per row).

    Raises:
        UserError: not a pickle, a pickle of something else, or one that asks to run code.
    """
    accepted = (
        "are image_data with class_dict, or data with labels, with uint8 images "
        "[n, height, width, 3]"
    )
    with stumbling(path, "a pickle of images", accepted):
        with path.open("rb") as file:
            images, rows = _tables(unpickled(file))
        return {
            name: [
                Picture(f"{path}: image {row}", partial(np.asarray, images[row]))
                for row in rows[name]
            ]
            for name in sorted(rows)
        }


def pickled_embeddings(path: Path) -> dict[str, np.ndarray]:
    """The embeddings of each class, [n, D] float32, in the order of class names.

    The layout is that of LEO's release: `embeddings` [n, D], and `keys` such as
    `17-n01532829-n01532829_0000005.jpg`, whose middle part is the class.

    Raises:
        UserError: as `pickled_pictures`.
    """
    accepted = "are embeddings [n, width] of floats with keys number-class-image"
    with stumbling(path, "a pickle of embeddings", accepted):
        with path.open("rb") as file:
            content = unpickled(file)
        vectors, keys = np.asarray(content["embeddings"]), [_text(k) for k in content["keys"]]
        if vectors.ndim != 2 or vectors.dtype.kind != "f" or len(vectors) != len(keys):
            found = f"{vectors.dtype} {list(vectors.shape)}"
            raise ValueError(f"its embeddings are {found}, for {len(keys)} keys")
        rows: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            _, name, _ = key.split("-")
            rows.setdefault(name, []).append(row)
        return {name: vectors[rows[name]].astype(np.float32) for name in sorted(rows)}


def _tables(content: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, list[int]]]:
    """The image array, and the rows of each class."""
    rows: dict[str, list[int]] = {}
    if "image_data" in content:
        images = content["image_data"]
        rows = {
            _text(name): [int(row) for row in own] for name, own in content["class_dict"].items()
        }
    else:
        images = np.asarray(content["data"])
        rows = rows_by_label(content["labels"], len(images))
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"its images are {images.dtype} {list(images.shape)}")
    return images, rows


def rows_by_label(labels: Sequence[Any], images: int) -> dict[str, list[int]]:
    """The rows of each class, from one label per row; numbers become text of five digits.

    Raises:
        ValueError: not as many labels as images.
    """
    if len(labels) != images:
        raise ValueError(f"{len(labels)} labels for {images} images")
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label if isinstance(label, str) else f"{int(label):05d}", []).append(row)
    return rows


def _text(name: Any) -> str:
    return name.decode("latin1") if isinstance(name, bytes) else str(name)
