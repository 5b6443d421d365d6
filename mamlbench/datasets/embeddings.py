"""Few-shot classification of embeddings: image features that a network computed beforehand."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.pickles import pickled_embeddings
from mamlbench.datasets.sampling import SPLITS
from mamlbench.datasets.store import ImageSet, data_root
from mamlbench.errors import BadValue, UserError, one_of, require
from mamlbench.files import at_home, write_atomically

FILE = "embeddings.npz"
SOURCES = {"mini_imagenet": (64, 16, 20), "tiered_imagenet": (351, 97, 160)}
"""Accepted names for `source`, with the numbers of train, val and test classes."""
_ACCEPTED = (
    "accepted is an .npz file from `mamlbench-data embed`, or a folder with "
    "train_embeddings.pkl, val_embeddings.pkl and test_embeddings.pkl as DeepMind released them"
)


class Embeddings(ImageDataset):
    """Tasks on vectors from a file that `mamlbench-data embed` wrote, or from LEO's own pickles.

    LEO's vectors (arXiv 1807.05960) are 640 features of the centre crop. mini-ImageNet and
    tiered-ImageNet have three pickles each; code in them is never run.

    Args:
        ways: N classes in a task.
        shots: K support vectors of each at meta-test.
        queries: Q query vectors of each at meta-training.
        train_shots: K at meta-training (None: as `shots`).
        root: the .npz, or the folder of the pickles (None: `embeddings.npz` where datasets live).
        source: the dataset whose images were embedded, one of `SOURCES`, as papers' tables require;
            the numbers of classes must match it (None: any).
        width: D, the length of an embedding.
        normalise: scale each embedding to length 1, as LEO does.

    Raises:
        BadValue: as `ImageDataset`, a width below 1, or an unknown source.
    """

    def __init__(
        self,
        ways: int = 5,
        shots: int = 1,
        queries: int = 15,
        train_shots: int | None = None,
        root: str | None = None,
        source: str | None = None,
        width: int = 640,
        normalise: bool = True,
    ) -> None:
        require(width >= 1, "width", width, "1 or more")
        if source is not None:
            one_of("source", source, SOURCES)
        self.normalise, self.source = normalise, source
        super().__init__((width,), ways, shots, queries, train_shots, root)

    @property
    def path(self) -> Path:
        """The .npz file, or the folder of the pickles."""
        return at_home(self.root) if self.root else data_root(None) / FILE

    @property
    @override
    def available(self) -> bool:
        return self.path.is_file() or all(path.is_file() for path in _pickles(self.path).values())

    @override
    def read(self, fresh: bool = False) -> ImageSet:
        if self.path.is_file():
            found = read_embeddings(self.path)
        elif self.available:
            found = _gathered(self.path, _pickles(self.path))
        else:
            raise UserError(f"{self.path}: no embeddings there; {_ACCEPTED}")
        width = found.images.shape[1]
        if width != self.input_shape[0]:
            accepted = f"{width}, the width in {self.path}"
            raise BadValue("width", self.input_shape[0], accepted, "dataset")
        classes = tuple(sum(name.startswith(f"{s}/") for name in found.classes) for s in SPLITS)
        if self.source is not None and classes != SOURCES[self.source]:
            has = "{} train, {} val and {} test classes".format(*classes)
            accepted = f"null, or a source with {has}, as in {self.path}"
            raise BadValue("source", self.source, accepted, "dataset")
        return found

    @override
    def _on_device(self, images: np.ndarray, device: torch.device) -> Tensor:
        vectors = torch.from_numpy(images).to(device)
        return F.normalize(vectors, dim=1) if self.normalise else vectors

    @override
    def inputs(self, where: Tensor) -> Tensor:
        vectors = self._pixels.index_select(0, where.reshape(-1))
        return vectors.view(*where.shape, *self.input_shape)


def write_embeddings(
    path: Path, vectors: np.ndarray, classes: Sequence[str], counts: Sequence[int]
) -> None:
    """Write vectors [n, D] float32, class after class, atomically.

    Args:
        path: the file.
        vectors: the embeddings.
        classes: each class's name, `split/name`.
        counts: vectors of each class.

    Raises:
        UserError: the file cannot be written.
    """
    buffer = BytesIO()
    np.savez(buffer, embeddings=vectors, classes=np.array(classes), counts=np.array(counts))
    write_atomically(path, buffer.getvalue())


def read_embeddings(path: Path) -> ImageSet:
    """Read what `write_embeddings` wrote; `images` are the vectors, [n, D] float32.

    Raises:
        UserError: the file has other content, or is damaged.
    """
    try:
        # only arrays: numpy refuses pickled objects, and zip's checksums detect damage
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            vectors, classes, counts = (file[name] for name in ("embeddings", "classes", "counts"))
        return _checked(path, vectors, [str(name) for name in classes], [int(n) for n in counts])
    except (
        *(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile),
        *(TypeError, AttributeError),  # a file with a single array
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: {reason}; {_ACCEPTED}") from error


def _pickles(folder: Path) -> dict[str, Path]:
    return {split: folder / f"{split}_embeddings.pkl" for split in SPLITS}


def _gathered(folder: Path, paths: Mapping[str, Path]) -> ImageSet:
    """The three splits in one set, class after class."""
    vectors: list[np.ndarray] = []
    classes: dict[str, int] = {}
    for split, path in paths.items():
        for name, own in pickled_embeddings(path).items():
            classes[f"{split}/{name}"] = len(own)
            vectors.append(own)
    widths = sorted({own.shape[1] for own in vectors})
    if len(widths) != 1:
        raise UserError(f"{folder}: embeddings of widths {widths}; accepted is one width")
    return _checked(folder, np.concatenate(vectors), [*classes], [*classes.values()])


def _checked(path: Path, vectors: np.ndarray, classes: list[str], counts: list[int]) -> ImageSet:
    if len(classes) != len(counts) or any(count < 1 for count in counts):
        found = f"{len(classes)} class names and counts {counts}"
        raise UserError(f"{path}: {found}; accepted is a count of 1 or more for each name")
    if vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != sum(counts):
        found = f"{vectors.dtype} {list(vectors.shape)} for {sum(counts)} images"
        raise UserError(f"{path}: its embeddings are {found}; accepted is float32 [images, width]")
    if not np.isfinite(vectors).all():
        raise UserError(f"{path}: some embeddings are not finite; accepted are finite numbers")
    split_of: dict[str, str] = {}
    for name in classes:
        split, _, own = name.partition("/")
        if split not in SPLITS or not own:
            raise UserError(f"{path}: class {name}; accepted is train/..., val/... or test/...")
        if split_of.setdefault(own, split) != split:
            both = f"{split_of[own]} and in {split}"
            raise UserError(f"{path}: class {own} is in {both}; accepted is one split")
    return ImageSet.of(vectors, classes, counts)
