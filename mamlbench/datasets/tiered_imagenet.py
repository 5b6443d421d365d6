"""tiered-ImageNet: 608 classes of ImageNet, split by their families, 84x84."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from mamlbench.datasets.pickles import plain_pickle, rows_by_label, stumbling, unpickled
from mamlbench.datasets.pictures import Picture
from mamlbench.datasets.published_split import (
    Classes,
    Layout,
    PublishedSplit,
    split_files,
    split_folders,
)


class TieredImagenet(PublishedSplit):
    """tiered-ImageNet (Ren et al., arXiv 1803.00676): test classes belong to unseen families.

    351 classes to train, 97 to validate, 160 to test, from 20, 6 and 8 families of ImageNet's tree,
    with all pictures of each class, 732 to 1,300. ImageNet's terms allow no free download, so the
    user puts the pictures into `<root>/tiered_imagenet`: `train`, `val` and `test` as folders or
    zips of class folders; or the authors' files `<split>_labels.pkl` with `<split>_images_png.pkl`
    or `<split>_images.npz`. Code in the pickles is never run. The authors' files are read once, and
    as a whole, which takes about as much memory as the files are large.

    Its options are those of `PublishedSplit`.
    """

    name = "tiered_imagenet"
    side = 84
    classes: ClassVar = {"train": 351, "val": 97, "test": 160}
    images = (732, 1300)
    advice = (
        "ImageNet's terms allow no download, so fetch it by hand and put one of these there: "
        "train, val and test as folders or zips of class folders; {train,val,test}_images_png.pkl "
        "with {train,val,test}_labels.pkl (12 GB, at https://zenodo.org/records/7978538)"
    )

    @override
    def layouts(self, folder: Path) -> Iterator[Layout | None]:
        yield split_folders(folder)
        yield split_files(folder, lambda s: [f"{s}_images_png.pkl", f"{s}_labels.pkl"], _classes)
        yield split_files(folder, lambda s: [f"{s}_images.npz", f"{s}_labels.pkl"], _classes)


def _classes(images: Path, labels: Path) -> Classes:
    """The classes of a split, by their number within the split."""
    accepted = "is a list of encoded pictures, or an npz of uint8 images [n, height, width, 3]"
    with stumbling(images, "tiered-ImageNet's pictures", accepted):
        pictures = list(_stored(images) if images.suffix == ".npz" else _encoded(images))
    accepted = "is label_specific, one number for each picture"
    with stumbling(labels, "tiered-ImageNet's labels", accepted):
        with labels.open("rb") as file:
            numbers = unpickled(file)["label_specific"]
        rows = rows_by_label(numbers, len(pictures))
        return {name: [pictures[row] for row in rows[name]] for name in sorted(rows)}


def _encoded(path: Path) -> Iterator[Picture]:
    with path.open("rb") as file:
        arrays: list[Any] = plain_pickle(file)
    for row, data in enumerate(arrays):
        yield Picture(f"{path}: image {row}", np.asarray(data, dtype=np.uint8).tobytes)


def _stored(path: Path) -> Iterator[Picture]:
    with np.load(path, allow_pickle=False) as content:
        images = content["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"its images are {images.dtype} {list(images.shape)}")
    for row, pixels in enumerate(images):
        # the authors' script unpacks the PNGs with OpenCV, whose colours are blue, green, red
        yield Picture(f"{path}: image {row}", partial(np.asarray, pixels[..., ::-1]))
