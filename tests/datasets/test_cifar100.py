"""CIFAR-FS and FC100: their own layouts, and both made from CIFAR-100's official files."""

import io
import pickle
import tarfile

import numpy as np
import pytest

from mamlbench.datasets import FC100, CifarFS, cifar100, cifar_fs, fc100
from mamlbench.errors import UserError

# (class, superclass) by label
CLASSES = [
    ("apple", "fruit_and_vegetables"),
    ("baby", "people"),
    ("bear", "large_carnivores"),
    ("beaver", "aquatic_mammals"),
    ("bus", "vehicles_1"),
    ("crab", "non-insect_invertebrates"),
    ("whale", "aquatic_mammals"),
]
SUPERCLASSES = sorted({superclass for _, superclass in CLASSES})
GENERATOR = np.random.default_rng(0)
# three pictures of each class, [32, 32, 3]
PIXELS = {name: GENERATOR.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8) for name, _ in CLASSES}
FS_SPLIT = {"train": ["apple", "bear", "bus"], "val": ["beaver", "crab"], "test": ["baby", "whale"]}
FC_SPLIT = {"train": ["apple", "bus"], "val": ["bear", "crab"], "test": ["baby", "beaver", "whale"]}


class SmallFS(CifarFS):
    classes = {split: len(names) for split, names in FS_SPLIT.items()}  # noqa: RUF012
    images = (3, 3)


class SmallFC(FC100):
    classes = {split: len(names) for split, names in FC_SPLIT.items()}  # noqa: RUF012
    images = (3, 3)


def part(rows):
    """CIFAR-100's pickle of the pictures in `rows`, pairs of label and picture number."""
    pixels = [PIXELS[CLASSES[label][0]][i].transpose(2, 0, 1).reshape(-1) for label, i in rows]
    return {
        b"data": np.stack(pixels),
        b"fine_labels": [label for label, _ in rows],
        b"coarse_labels": [SUPERCLASSES.index(CLASSES[label][1]) for label, _ in rows],
        b"filenames": [f"{CLASSES[label][0]}_s_{i:06}.png".encode() for label, i in rows],
        b"batch_label": b"made up",
    }


def official_files():
    """Two pictures of each class in `train` and one in `test`, in no particular order."""
    rows = [(label, i) for label in range(len(CLASSES)) for i in range(3)]
    train = [rows[i] for i in GENERATOR.permutation(len(rows)) if rows[i][1] != 1]
    test = [row for row in reversed(rows) if row[1] == 1]
    names = [name for name, _ in CLASSES]
    meta = {b"fine_label_names": names, b"coarse_label_names": SUPERCLASSES}
    return {"train": part(train), "test": part(test), "meta": meta}


@pytest.fixture
def official(tmp_path):
    """Where datasets live, with `cifar100/cifar-100-python.tar.gz`."""
    root = tmp_path / "official"
    (root / "cifar100").mkdir(parents=True)
    with tarfile.open(root / "cifar100" / "cifar-100-python.tar.gz", "w:gz") as archive:
        for name, content in official_files().items():
            data = pickle.dumps(content, 2)
            info = tarfile.TarInfo(f"cifar-100-python/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return root


@pytest.fixture
def bertinetto(tmp_path, save_picture):
    folder = tmp_path / "bertinetto" / "cifar_fs"
    for name, pictures in PIXELS.items():
        for i, pixels in enumerate(pictures):
            save_picture(folder / "data" / name / f"{name}_s_{i:06}.png", pixels)
    (folder / "splits" / "bertinetto").mkdir(parents=True)
    for split, names in FS_SPLIT.items():
        text = "\n".join(reversed(names)) + "\n"
        (folder / "splits" / "bertinetto" / f"{split}.txt").write_text(text)
    return tmp_path / "bertinetto"


def pictures_of(images, split_of):
    """The pictures that must have been read, given the classes of each split in order."""
    names = [f"{split}/{name}" for split, own in split_of.items() for name in own]
    assert [*images.classes] == names
    assert images.counts == (3,) * len(names)
    whole = np.concatenate([PIXELS[name.split("/")[1]] for name in names])
    np.testing.assert_array_equal(images.images, whole.transpose(0, 3, 1, 2))


def test_cifar_fs_from_its_authors_folders_and_from_cifar100(official, bertinetto):
    images = SmallFS(ways=2, queries=1, root=str(bertinetto)).read()
    pictures_of(images, FS_SPLIT)
    dataset = SmallFS(ways=2, queries=1, root=str(official))
    assert dataset.available
    assert dataset.read().sha256 == images.sha256


def test_cifar_fs_in_the_folder_of_its_zip(bertinetto):
    before = SmallFS(ways=2, queries=1, root=str(bertinetto)).read()
    inside = bertinetto / "cifar_fs" / "cifar100"
    inside.mkdir()
    for name in ("data", "splits"):
        (bertinetto / "cifar_fs" / name).rename(inside / name)
    after = SmallFS(ways=2, queries=1, root=str(bertinetto)).read()
    assert after.sha256 == before.sha256


def test_a_list_of_cifar_fs_that_is_no_text(bertinetto):
    (bertinetto / "cifar_fs/splits/bertinetto/val.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"val.txt: 'utf-8' codec .*; accepted are class names"):
        SmallFS(ways=2, queries=1, root=str(bertinetto)).read()


def test_fc100_is_split_by_superclass(official):
    pictures_of(SmallFC(ways=2, queries=1, root=str(official)).read(), FC_SPLIT)


def test_cifar100_extracted_and_beside_the_dataset(official, tmp_path):
    expected = SmallFC(ways=2, queries=1, root=str(official)).read().sha256
    root = tmp_path / "extracted"
    with tarfile.open(official / "cifar100" / "cifar-100-python.tar.gz") as archive:
        archive.extractall(root / "fc100", filter="data")
    assert SmallFC(ways=2, queries=1, root=str(root)).read().sha256 == expected


@pytest.mark.parametrize(
    ("cls", "folder", "pattern", "splits"),
    [
        (SmallFS, "cifar_fs", "CIFAR_FS_{}.pickle", FS_SPLIT),
        (SmallFC, "fc100", "FC100_{}.pickle", FC_SPLIT),
    ],
)
def test_pickles(tmp_path, cls, folder, pattern, splits):
    (tmp_path / folder).mkdir()
    labels = {name: label for label, (name, _) in enumerate(CLASSES)}
    for split, names in splits.items():
        content = {
            "data": np.concatenate([PIXELS[name] for name in names]),
            "labels": [labels[name] for name in names for _ in range(3)],
        }
        (tmp_path / folder / pattern.format(split)).write_bytes(pickle.dumps(content, 2))
    images = cls(ways=2, queries=1, root=str(tmp_path)).read()
    numbered = {split: [f"{labels[name]:05}" for name in own] for split, own in splits.items()}
    assert [*images.classes] == [f"{split}/{n}" for split, own in numbered.items() for n in own]
    whole = np.concatenate([PIXELS[name] for own in splits.values() for name in own])
    np.testing.assert_array_equal(images.images, whole.transpose(0, 3, 1, 2))


def test_split_folders(tmp_path, save_picture):
    for split, names in FC_SPLIT.items():
        for name in names:
            for i, pixels in enumerate(PIXELS[name]):
                save_picture(tmp_path / "fc100" / split / name / f"{i}.png", pixels)
    pictures_of(SmallFC(ways=2, queries=1, root=str(tmp_path)).read(), FC_SPLIT)


def test_what_is_missing_is_downloaded(tmp_path, official, monkeypatch):
    asked = []

    def fetch_file(remote, path):
        asked.append((remote.url.rsplit("/", 1)[1], path))
        path.parent.mkdir(parents=True)
        archive = official / "cifar100" / "cifar-100-python.tar.gz"
        path.write_bytes(archive.read_bytes())
        return path

    monkeypatch.setattr(cifar100, "fetch_file", fetch_file)
    root = tmp_path / "empty"
    dataset = SmallFC(ways=2, queries=1, root=str(root))
    assert not dataset.available
    pictures_of(dataset.read(), FC_SPLIT)
    archive = "cifar-100-python.tar.gz"
    assert asked == [(archive, root / "cifar100" / archive)]
    pictures_of(SmallFS(ways=2, queries=1, root=str(root)).read(), FS_SPLIT)
    assert len(asked) == 1


def test_a_truncated_archive(official):
    path = official / "cifar100" / "cifar-100-python.tar.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"tar.gz: not CIFAR-100 \(.*accepted is the complete http"):
        SmallFC(ways=2, queries=1, root=str(official)).read()


def test_a_hostile_pickle_in_the_archive(tmp_path):
    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(b"cos\nmkdir\n(U\x06brokentR.")
    with pytest.raises(
        UserError, match=r"cifar-100-python: not CIFAR-100 \(it would import os.mkdir"
    ):
        SmallFC(ways=2, queries=1, root=str(tmp_path)).read()


def test_a_list_that_names_a_class_without_pictures(bertinetto):
    lists = bertinetto / "cifar_fs" / "splits" / "bertinetto"
    (lists / "val.txt").write_text("beaver\ncrap\n")
    with pytest.raises(UserError, match=r"val.txt: class crap has no pictures in .*data"):
        SmallFS(ways=2, queries=1, root=str(bertinetto)).read()


def test_published_splits():
    """Numbers of classes, and FC100's superclasses, which its paper lists by number."""
    of_classes = [*cifar_fs.SPLIT_OF.values()]
    assert (of_classes.count("val"), of_classes.count("test")) == (16, 20)
    numbered = (  # in CIFAR-100's numbering
        "aquatic_mammals fish flowers food_containers fruit_and_vegetables "
        "household_electrical_devices household_furniture insects large_carnivores "
        "large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores "
        "medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1 "
        "vehicles_2"
    )
    splits = [fc100.SPLIT_OF.get(name, "train") for name in numbered.split()]
    assert set(fc100.SPLIT_OF) <= set(numbered.split())
    assert [i for i, split in enumerate(splits) if split == "val"] == [8, 11, 13, 16]
    assert [i for i, split in enumerate(splits) if split == "test"] == [0, 7, 12, 14]
