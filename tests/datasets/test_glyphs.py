"""Made-up characters: the same on every machine, learnable, not trivial."""

import hashlib

import pytest
import torch

from mamlbench.datasets import Glyphs
from mamlbench.datasets.glyph_strokes import draw


@pytest.fixture(scope="module")
def glyphs():
    dataset = Glyphs(queries=3)
    dataset.load(torch.device("cpu"))
    return dataset


@pytest.fixture(scope="module")
def images(glyphs):
    return glyphs.read()


def test_the_same_bytes_everywhere(glyphs):
    assert (
        hashlib.sha256(draw(10, 3, key=1).tobytes()).hexdigest()
        == "192630e9a34513c08b5d7ebef6bacb7cac0971e4da3d072bb968d536a6b79d67"
    )
    assert glyphs.sha256 == "66f843d5db24ce10cbe1ddab47718acbb43e1aaa3e6164c13b5b2e64df7565d9"


def test_splits(glyphs, images):
    assert images.images.shape == (20_000, 1, 28, 28)
    classes = glyphs.split_classes(images)
    assert classes["train"].tolist() == list(range(700))
    assert classes["val"].tolist() == list(range(700, 800))
    assert classes["test"].tolist() == list(range(800, 1_000))


def test_ink_and_paper(images):
    pixels = images.images
    ink = (pixels > 127).mean(axis=(1, 2, 3))
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert ink.min() > 0.01
    assert 0.1 < ink.mean() < 0.2
    assert ink.max() < 0.4
    assert len({image.tobytes() for image in pixels}) == 20_000


def test_pixels_help_but_do_not_suffice(glyphs):
    """Nearest neighbours by pixel are well above chance (0.2) and well below perfect."""
    tasks = glyphs.sample("test", 0, 0, 300)
    query, support = tasks.query.x.flatten(2), tasks.support.x.flatten(2)
    nearest = torch.cdist(query, support).argmin(-1)
    accuracy = (tasks.support.y.gather(1, nearest) == tasks.query.y).float().mean().item()
    assert 0.45 < accuracy < 0.7
