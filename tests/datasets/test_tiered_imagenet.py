"""tiered-ImageNet: folders and the authors' files give the same pictures, in the right colours."""

import pickle

import numpy as np
import pytest
import torch

from mamlbench.datasets import TieredImagenet
from mamlbench.errors import BadValue, UserError

SPLITS = ("train", "val", "test")
# classes of two and of three pictures, their rows in no particular order
LABELS = {"train": [1, 0, 1, 0, 1], "val": [0, 1, 0, 1], "test": [1, 1, 0, 0, 0]}
GENERATOR = np.random.default_rng(0)
PIXELS = {
    split: GENERATOR.integers(0, 256, (len(labels), 84, 84, 3), dtype=np.uint8)
    for split, labels in LABELS.items()
}


class Small(TieredImagenet):
    classes = dict.fromkeys(SPLITS, 2)
    images = (2, 3)


def make(root):
    return Small(ways=2, queries=1, root=str(root))


@pytest.fixture
def folders(tmp_path, save_picture):
    root = tmp_path / "folders"
    for split, labels in LABELS.items():
        for row, label in enumerate(labels):
            folder = root / "tiered_imagenet" / split / f"{label:05d}"
            save_picture(folder / f"{row}.png", PIXELS[split][row])
    return root


def write(root, pictures, protocol=2, text=str):
    """Write the authors' files; `pictures(folder, split)` writes a split's file of images."""
    folder = root / "tiered_imagenet"
    folder.mkdir(parents=True)
    for split, labels in LABELS.items():
        keys = {"label_specific": np.array(labels, np.int32), "label_general": np.zeros(5)}
        labels_file = {text(key): value for key, value in keys.items()}
        (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels_file, protocol))
        pictures(folder, split)
    return root


def pngs(png, protocol=2, as_column=False):
    def pictures(folder, split):
        arrays = [np.frombuffer(png(pixels), np.uint8) for pixels in PIXELS[split]]
        if as_column:  # as older versions of OpenCV give them
            arrays = [array[:, None] for array in arrays]
        path = folder / f"{split}_images_png.pkl"
        path.write_bytes(pickle.dumps([array.copy() for array in arrays], protocol))

    return pictures


def bgr_npz(folder, split):
    np.savez(folder / f"{split}_images.npz", images=PIXELS[split][..., ::-1])


def test_every_layout_gives_the_same(tmp_path, folders, png):
    expected = make(folders).read()
    assert [*expected.classes] == [f"{split}/0000{c}" for split in SPLITS for c in (0, 1)]
    assert expected.counts == (2, 3, 2, 2, 3, 2)
    whole = [
        PIXELS[split][row]
        for split, labels in LABELS.items()
        for row in np.argsort(labels, kind="stable")
    ]
    np.testing.assert_array_equal(expected.images, np.stack(whole).transpose(0, 3, 1, 2))
    layouts = {
        "png": pngs(png),
        "column": pngs(png, as_column=True),
        "npz": bgr_npz,
    }
    for name, pictures in layouts.items():
        dataset = make(write(tmp_path / name, pictures))
        assert dataset.available
        assert dataset.read().sha256 == expected.sha256, name
    by_python_3 = write(tmp_path / "bytes", pngs(png, 5), 5, lambda key: key.encode())
    assert make(by_python_3).read().sha256 == expected.sha256


def test_tasks_are_of_one_split(folders):
    dataset = make(folders)
    dataset.load(torch.device("cpu"))
    tasks = dataset.sample("test", 0, 0, 20)
    own = {picture.tobytes() for picture in PIXELS["test"].transpose(0, 3, 1, 2)}
    seen = (tasks.support.x.flatten(0, 1) * 255).round().to(torch.uint8).numpy()
    assert {picture.tobytes() for picture in seen} == own
    assert dataset.remaining("test", 1) == 1


def test_nothing_there(tmp_path):
    dataset = make(tmp_path)
    assert not dataset.available
    with pytest.raises(
        UserError, match=r"tiered_imagenet is missing or incomplete; ImageNet's terms"
    ):
        dataset.read()


def broken(tmp_path, png, name, content):
    root = write(tmp_path, pngs(png))
    (root / "tiered_imagenet" / name).write_bytes(content)
    return make(root)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "val_images_png.pkl",
            b"cos\nmkdir\n(U\x06brokentR.",
            r"val_images_png.pkl: .*would import os",
        ),
        ("val_labels.pkl", pickle.dumps({"label_specific": [0]}), "1 labels for 4 images"),
        ("val_labels.pkl", pickle.dumps({"labels": [0]}), "labels.pkl: not .*'label_specific'"),
        (
            "val_labels.pkl",
            pickle.dumps({"label_specific": [0, 0, 0, 1]}),
            "val has 00001 with 1 picture; accepted is 2 classes of 2 to 3 pictures",
        ),
        (
            "train_images_png.pkl",
            pickle.dumps([np.zeros(9, np.uint8)] * 5),
            "image 1: this picture cannot be decoded",
        ),
    ],
)
def test_broken_files(tmp_path, png, name, content, message):
    with pytest.raises(UserError, match=message):
        broken(tmp_path, png, name, content).read()


def test_an_npz_of_something_else(tmp_path):
    def floats(folder, split):
        np.savez(folder / f"{split}_images.npz", images=PIXELS[split] / 255)

    with pytest.raises(UserError, match=r"train_images.npz: .*float64 \[5, 84, 84, 3\]"):
        make(write(tmp_path, floats)).read()


def test_an_npz_that_asks_for_code(tmp_path):
    def objects(folder, split):
        np.savez(folder / f"{split}_images.npz", images=np.array([{}, {}], dtype=object))

    with pytest.raises(UserError, match=r"train_images.npz: .*allow_pickle"):
        make(write(tmp_path, objects)).read()


def test_published_sizes():
    assert sum(TieredImagenet.classes.values()) == 608
    with pytest.raises(BadValue, match=r"ways=98: accepted is 2 to 97: val has no more classes"):
        TieredImagenet(ways=98)
