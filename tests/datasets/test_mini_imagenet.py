"""mini-ImageNet: all layouts give the same, on a small imitation; the real data's counts."""

import csv
import pickle

import numpy as np
import pytest

from mamlbench.datasets import MiniImagenet
from mamlbench.datasets.pictures import Decoding, decode
from mamlbench.errors import BadValue, UserError

CLASSES = {"train": ["n03", "n01"], "val": ["n05", "n02"], "test": ["n04", "n06"]}
GENERATOR = np.random.default_rng(0)
PIXELS = {
    name: GENERATOR.integers(0, 256, (3, 84, 84, 3), dtype=np.uint8)
    for names in CLASSES.values()
    for name in names
}


class Small(MiniImagenet):
    classes = dict.fromkeys(CLASSES, 2)
    images = (3, 3)


def make(root):
    return Small(ways=2, queries=2, root=str(root))


@pytest.fixture
def folders(tmp_path, save_picture):
    root = tmp_path / "folders"
    for split, names in CLASSES.items():
        for name in names:
            for i, pixels in enumerate(PIXELS[name]):
                folder = root / "mini_imagenet" / split / name
                save_picture(folder / f"{name}{i:08}.png", pixels)
    return root


def lists(root, folders):
    (root / "mini_imagenet" / "images").mkdir(parents=True)
    for split in CLASSES:
        with (root / "mini_imagenet" / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["filename", "label"])
            for path in sorted((folders / "mini_imagenet" / split).rglob("*.png"), reverse=True):
                writer.writerow([path.name, path.parent.name])
                (root / "mini_imagenet" / "images" / path.name).write_bytes(path.read_bytes())


def zips(root, folders, zip_folder, prefix):
    (root / "mini_imagenet").mkdir(parents=True)
    for split in CLASSES:
        archive = root / "mini_imagenet" / f"{split}.zip"
        zip_folder(folders / "mini_imagenet" / split, archive, f"{split}/" if prefix else "")


def pickles(root, pattern, by_label):
    (root / "mini_imagenet").mkdir(parents=True)
    for split, names in CLASSES.items():
        images = np.concatenate([PIXELS[name] for name in names])
        if by_label:
            content = {"data": images, "labels": [name for name in names for _ in range(3)]}
        else:
            class_dict = {name: range(3 * i, 3 * i + 3) for i, name in enumerate(names)}
            rows = {name: list(own) for name, own in class_dict.items()}
            content = {"image_data": images, "class_dict": rows}
        name = pattern.format("train_phase_train" if by_label and split == "train" else split)
        (root / "mini_imagenet" / name).write_bytes(pickle.dumps(content))


def test_every_layout_gives_the_same(tmp_path, folders, zip_folder):
    zips(tmp_path / "zips", folders, zip_folder, prefix=True)
    zips(tmp_path / "bare_zips", folders, zip_folder, prefix=False)
    lists(tmp_path / "lists", folders)
    pickles(tmp_path / "dict", "mini-imagenet-cache-{}.pkl", by_label=False)
    pickles(tmp_path / "labels", "miniImageNet_category_split_{}.pickle", by_label=True)
    expected = make(folders).read()
    names = ["train/n01", "train/n03", "val/n02", "val/n05", "test/n04", "test/n06"]
    assert [*expected.classes] == names
    whole = np.concatenate([PIXELS[name.split("/")[1]] for name in names]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(expected.images, whole)
    for layout in ("zips", "bare_zips", "lists", "dict", "labels"):
        dataset = make(tmp_path / layout)
        assert dataset.available
        assert dataset.read().sha256 == expected.sha256, layout
    classes = make(folders).split_classes(expected)
    assert {split: own.tolist() for split, own in classes.items()} == {
        "train": [0, 1],
        "val": [2, 3],
        "test": [4, 5],
    }


def test_nothing_there(tmp_path):
    assert not make(tmp_path).available
    with pytest.raises(
        UserError, match=r"mini_imagenet: .*fetch it by hand and put one of these there: train"
    ):
        make(tmp_path).read()


def test_a_class_in_two_splits(folders):
    (folders / "mini_imagenet" / "test" / "n04").rename(folders / "mini_imagenet" / "test" / "n05")
    with pytest.raises(UserError, match="class n05 is in val and in test; accepted is one split"):
        make(folders).read()


def test_a_missing_picture(folders):
    next((folders / "mini_imagenet" / "val" / "n02").iterdir()).unlink()
    with pytest.raises(
        UserError, match="val has n02 with 2 pictures; accepted is 2 classes of 3 pictures"
    ):
        make(folders).read()


def test_a_list_that_names_what_is_not_there(tmp_path, folders):
    lists(tmp_path / "lists", folders)
    (tmp_path / "lists/mini_imagenet/images/n0400000001.png").unlink()
    with pytest.raises(UserError, match=r"test.csv: no 'n0400000001.png' in it or in .*images"):
        make(tmp_path / "lists").read()


def test_a_list_with_a_line_that_is_too_short(tmp_path, folders):
    lists(tmp_path / "lists", folders)
    with (tmp_path / "lists/mini_imagenet/train.csv").open("a") as file:
        file.write("n0100000001.png\n")
    with pytest.raises(UserError, match=r"train.csv: no 'label of n0100000001.png' in it"):
        make(tmp_path / "lists").read()


def test_a_hostile_pickle(tmp_path):
    pickles(tmp_path, "mini-imagenet-cache-{}.pkl", by_label=False)
    path = tmp_path / "mini_imagenet" / "mini-imagenet-cache-val.pkl"
    path.write_bytes(b"cos\nmkdir\n(U" + b"\x06broken" + b"tR.")
    with pytest.raises(
        UserError, match=r"cache-val.pkl: not a pickle of images \(it would import os"
    ):
        make(tmp_path).read()


def test_more_ways_than_classes():
    with pytest.raises(BadValue, match=r"ways=17: accepted is 2 to 16: val has no more classes"):
        MiniImagenet(ways=17)


def test_real_counts(needing_data):
    dataset = MiniImagenet()
    needing_data(dataset)
    found = dataset._checked(dataset._layout().read)
    assert len(found) == 100
    assert {len(pictures) for pictures in found.values()} == {600}
    assert len({name.split("/")[1] for name in found}) == 100
    for pictures in found.values():
        assert decode(pictures[0], Decoding(3, 84, 84, "lanczos")).std() > 5
