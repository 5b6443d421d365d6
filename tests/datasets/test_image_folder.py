"""A user's own pictures."""

import math
import os

import numpy as np
import pytest
import torch

from mamlbench.datasets import ImageFolder
from mamlbench.errors import BadValue, UserError
from mamlbench.evaluation import Protocol

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path, save_picture):
    """Grey and colour pictures of all sizes; class c is grey 40 * c."""
    for c in range(6):
        split = ("train", "test")[c // 3]
        for i in range(3):
            shape = (5 + i, 9, 3) if i else (7, 4)
            name = f"{i}.{('png', 'JPG', 'jpeg')[i]}"
            save_picture(tmp_path / split / f"class{c}" / name, np.full(shape, 40 * c))
    return tmp_path


def make(root, **options):
    return ImageFolder(**{"ways": 2, "queries": 2, "root": str(root), "image_size": 6, **options})


@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_grey_or_colour(folder, channels):
    dataset = make(folder, channels=channels)
    assert dataset.input_shape == (channels, 6, 6)
    dataset.load(CPU)
    assert dataset.splits == ("train", "test")
    tasks = dataset.sample("test", 0, 0, 20)
    assert tasks.query.x.shape == (20, 4, channels, 6, 6)
    grey = (tasks.query.x * 255 / 40).round()
    assert set(grey.unique().tolist()) == {3, 4, 5}
    classes = torch.from_numpy(tasks.info["classes"]).gather(1, tasks.query.y) + 3
    assert torch.equal(grey, classes[..., None, None, None].expand_as(grey).float())


def test_validation_is_a_choice(folder):
    (folder / "test").rename(folder / "val")
    assert not make(folder).available
    with pytest.raises(UserError, match=r"accepted is train/<class>/"):
        make(folder).load(CPU)
    (folder / "val").rename(folder / "test")
    dataset = make(folder)
    dataset.load(CPU)
    with pytest.raises(UserError, match="split val: this dataset has no classes"):
        dataset.sample("val", 0, 0, 1)


def test_too_few(folder, save_picture):
    with pytest.raises(BadValue, match=r"^dataset.ways=4: accepted is 2 to 3: tr"):
        make(folder, ways=4).load(CPU)
    with pytest.raises(BadValue, match=r"^dataset.shots=4: accepted is 1 to 3"):
        make(folder, shots=4, train_shots=1).load(CPU)
    save_picture(folder / "val" / "only" / "1.png", [[0]])
    with pytest.raises(
        UserError, match=r"val: 1 class with pictures; accepted is 2 or more, as .*png.jpg.jpeg"
    ):
        make(folder).load(CPU)


def test_a_class_in_two_splits(folder):
    (folder / "test" / "class4").rename(folder / "test" / "class1")
    with pytest.raises(
        UserError, match="test/class1: this class is also in train; accepted is one split"
    ):
        make(folder).load(CPU)


def test_folders_may_be_links(folder, tmp_path_factory):
    """For example, a split of pictures that are stored elsewhere."""
    whole = make(folder).read()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for place in ("train/class1", "test/class4"):
        (folder / place).rename(elsewhere / place[-6:])
        (folder / place).symlink_to(elsewhere / place[-6:])
    assert make(folder).read(fresh=True).sha256 == whole.sha256


def test_a_link_that_leads_back(folder):
    (folder / "train" / "class0" / "again").symlink_to(folder / "train")
    with pytest.raises(UserError, match=r"class0/again: leads back to .*/train; accepted are"):
        make(folder).load(CPU)


def test_names_in_no_known_encoding(folder):
    name = os.fsdecode(os.fsencode(folder / "train") + b"/caf\xe9")
    (folder / "train" / "class0").rename(name)
    assert any("caf" in name for name in make(folder).read().classes)


def test_the_smallest_class_is_named(folder):
    (folder / "train" / "class2" / "0.png").unlink()
    with pytest.raises(BadValue, match=r"queries=2: accepted is 0 to 1: train/class2 has 2 images"):
        make(folder).load(CPU)


def test_all_remaining_queries_are_those_of_the_smallest_class(folder, save_picture):
    protocol = Protocol(name="leo", queries="remaining")
    dataset = make(folder)
    dataset.load(CPU)
    assert "1 shot, all remaining queries per class" in protocol.in_words(dataset, 1, "none")
    save_picture(folder / "test" / "class4" / "more.png", [[0]])
    dataset.load(CPU)
    assert protocol.shots_and_queries(dataset, "test") == (1, 2)
    words = protocol.in_words(dataset, 1, "none")
    assert "1 shot, 2 queries per class, all that the smallest class has" in words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"std": (0.2, 0.0, 0.2)}, r"std=\(0.2, 0.0, 0.2\): accepted is null, or numbers above 0"),
        ({"mean": (0.2, math.nan, 0.2)}, "mean=.*: accepted is null or finite numbers"),
    ],
)
def test_channels_that_cannot_be_scaled(folder, options, message):
    with pytest.raises(BadValue, match=message):
        make(folder, **options)


def test_a_broken_picture(folder):
    (folder / "test" / "class3" / "0.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"test/class3/0.png: this picture cannot be decoded"):
        make(folder).load(CPU)


def test_the_cache_is_not_among_the_pictures(folder, monkeypatch):
    monkeypatch.delenv("MAMLBENCH_DATA", raising=False)
    make(folder).load(CPU)
    assert {path.name for path in folder.iterdir()} == {"train", "test"}


def test_wrong_options(folder):
    with pytest.raises(BadValue, match=r"channels=2: accepted is 1 \(grey\) or 3"):
        make(folder, channels=2)
    with pytest.raises(BadValue, match=r"did you mean 'lanczos'\?"):
        make(folder, resize="lancos")
