"""Omniglot: layouts, splits and polarity on a small imitation, and the real data's counts."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mamlbench.compose import config
from mamlbench.datasets import Omniglot, omniglot
from mamlbench.datasets.pictures import Decoding, decode
from mamlbench.datasets.store import ImageSet
from mamlbench.errors import BadValue, UserError

CPU = torch.device("cpu")


@pytest.fixture
def small(tmp_path, save_picture, monkeypatch):
    """Six and four characters of three drawings; drawing i of character c has i * 10 + c dots."""
    monkeypatch.setattr(omniglot, "CHARACTERS", {"images_background": 6, "images_evaluation": 4})
    monkeypatch.setattr(omniglot, "DRAWINGS", 3)
    sizes = {"maml": (3, 3, 4), "mamlpp": (4, 2, 4), "reptile": (6, 0, 4)}
    monkeypatch.setattr(omniglot, "SPLIT_SIZES", sizes)
    for part, first, count in (("images_background", 0, 6), ("images_evaluation", 6, 4)):
        for c in range(first, first + count):
            for i in range(3):
                paper = np.full(105 * 105, 255)
                paper[: i * 10 + c] = 0
                path = tmp_path / "omniglot" / part / f"Alphabet{c // 3}" / f"character{c:02}"
                save_picture(path / f"{c:04}_{i:02}.png", paper.reshape(105, 105), mode="1")
    return tmp_path


def make(root, **options):
    return Omniglot(**{"ways": 2, "root": str(root), "split": "reptile", **options})


def test_zips_and_folders_give_the_same(small, zip_folder):
    folders = make(small).read()
    assert folders.images.shape == (30, 1, 28, 28)
    assert folders.classes[0] == "Alphabet0/character00"
    assert folders.counts == (3,) * 10
    for part in ("images_background", "images_evaluation"):
        folder = small / "omniglot" / part
        zip_folder(folder, small / "omniglot" / f"{part}.zip", prefix=f"{part}/")
        folder.rename(small / f"away_{part}")
    zips = make(small).read()
    assert zips.sha256 == folders.sha256
    np.testing.assert_array_equal(zips.images, folders.images)


def test_splits_are_disjoint_whole_and_fixed(small):
    tests = []
    for split, sizes in omniglot.SPLIT_SIZES.items():
        dataset = make(small, split=split)
        classes = dataset.split_classes(dataset.read())
        assert tuple(len(own) for own in classes.values()) == sizes
        assert sorted(np.concatenate([*classes.values()])) == list(range(10))
        tests.append(classes["test"].tolist())
    assert tests[0] == tests[1] == tests[2]


def test_ink_is_1_where_inverted(small):
    (dark, bright) = (make(small, invert=i, resize="box") for i in (True, False))
    for dataset in (dark, bright):
        dataset.load(CPU)
    tasks, same = (dataset.sample("test", 0, 0, 4) for dataset in (dark, bright))
    torch.testing.assert_close(tasks.support.x, 1 - same.support.x)
    assert 0 < tasks.support.x.mean() < 0.01


def test_a_truncated_zip(small, zip_folder):
    folder = small / "omniglot" / "images_background"
    archive = zip_folder(folder, folder.with_suffix(".zip"))
    folder.rename(small / "away")
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(
        UserError, match=r"images_background.zip: not a complete zip.*fetch it again"
    ):
        make(small).read()


def test_a_missing_drawing(small, zip_folder):
    (small / "omniglot/images_background/Alphabet1/character04/0004_01.png").unlink()
    expected = r"Alphabet1/character04 with 2 drawings; accepted is 6 characters of 3 drawings"
    with pytest.raises(UserError, match=expected):
        make(small).read()


def test_wrong_options():
    with pytest.raises(BadValue, match=r"ways=101: accepted is 2 to 100: val has no more classes"):
        Omniglot(ways=101)
    with pytest.raises(BadValue, match=r"queries=20: accepted is 0 to 19"):
        Omniglot(queries=20)
    with pytest.raises(BadValue, match=r"did you mean 'reptile'\?"):
        Omniglot(split="reptil")
    with pytest.raises(BadValue, match="rotate_test=true: accepted is false"):
        Omniglot(rotations="classes")
    # four rotations of 1,200 characters
    assert (
        Omniglot(split="reptile", rotations="classes", rotate_test=False, ways=423).outputs == 423
    )


@pytest.fixture(scope="module")
def characters(needing_data):
    """The real drawings of each character, not decoded."""
    needing_data(Omniglot())
    folder = Path(os.environ["MAMLBENCH_DATA"]) / "omniglot"
    return omniglot._characters([omniglot.find(folder, part) for part in omniglot.CHARACTERS])


def test_real_counts_and_splits(characters):
    assert len(characters) == 1_623
    assert {len(drawings) for drawings in characters.values()} == {20}
    assert len({name.split("/")[0] for name in characters}) == 50
    names = [*characters]
    images = ImageSet(np.empty((0, 1, 28, 28), np.uint8), tuple(names), (20,) * 1_623, "")
    for split, sizes in omniglot.SPLIT_SIZES.items():
        classes = Omniglot(split=split).split_classes(images)
        assert tuple(len(own) for own in classes.values()) == sizes
        assert sorted(np.concatenate([*classes.values()])) == list(range(1_623))
        # the split never changes, so that results of different versions are comparable
        digest = hashlib.sha256(",".join(names[i] for i in classes["test"]).encode()).hexdigest()
        assert digest == "fd172cf321bfb638091977dc6c51cfc49cf8060fe0141144810346f29395b154"


@pytest.mark.parametrize("algorithm", ["maml", "fomaml", "reptile", "mamlpp"])
def test_the_presets_resize_as_the_papers_codes_do(algorithm):
    node = config([f"algorithm={algorithm}", "dataset=omniglot"])["dataset"]
    assert node["resize"] == "nearest"


def test_real_drawings(characters):
    """Pillow resizes a 1-bit picture by nearest neighbour, whatever filter a paper's code names."""
    for picture in characters["Greek/character01"]:
        bits = picture.open()
        assert (bits.mode, bits.size) == ("1", (105, 105))
        named = np.asarray(bits.resize((28, 28), Image.Resampling.LANCZOS)) * 255
        nearest = decode(picture, Decoding(1, 28, 28, "nearest"))[0]
        np.testing.assert_array_equal(nearest, named)
        # paper is white, and a drawing is mostly paper
        assert 0.8 < nearest.mean() / 255 < 0.98
        assert 0.8 < decode(picture, Decoding(1, 28, 28, "lanczos")).mean() / 255 < 0.98
