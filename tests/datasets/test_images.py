"""Tasks from images whose pixels identify their class and number."""

import numpy as np
import pytest
import torch

from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.store import ImageSet
from mamlbench.errors import BadValue, UserError

CPU = torch.device("cpu")
# classes 0-3 train, 4-6 val, 7-11 test; class c has images of pixel value 20 * c + 0, 1, 2, ...
SPLITS = ["train"] * 4 + ["val"] * 3 + ["test"] * 5
COUNTS = [3, 5, 4, 6, 4, 4, 4, 7, 5, 6, 5, 9]


class Toy(ImageDataset):
    available = True

    def __init__(self, ways=3, shots=1, queries=2, train_shots=None, **options):
        super().__init__((1, 2, 2), ways, shots, queries, train_shots, None, **options)

    def read(self, fresh=False):
        pixels = [20 * c + i for c, count in enumerate(COUNTS) for i in range(count)]
        images = np.broadcast_to(np.array(pixels, np.uint8)[:, None, None, None], (62, 1, 2, 2))
        names = [f"{split}/{c}" for c, split in enumerate(SPLITS)]
        return ImageSet.of(images.copy(), names, COUNTS)


class Cornered(Toy):
    """Every image is [[0, 50], [100, 150]], so that rotations are visible."""

    def read(self, fresh=False):
        images = np.tile(np.array([[[[0, 50], [100, 150]]]], np.uint8), (62, 1, 1, 1))
        return ImageSet.of(images, [f"{split}/{c}" for c, split in enumerate(SPLITS)], COUNTS)


class Coloured(Cornered):
    """Three equal channels."""

    def __init__(self, **options):
        super(Toy, self).__init__((3, 2, 2), 3, 1, 2, None, None, **options)

    def read(self, fresh=False):
        images = super().read(fresh)
        return type(images).of(np.repeat(images.images, 3, 1), images.classes, images.counts)


def loaded(dataset):
    dataset.load(CPU)
    return dataset


def origins(examples):
    """Class and image number of each row, from its pixels."""
    pixel = (examples.x[:, :, 0, 0, 0] * 255).round().long().numpy()
    return pixel // 20, pixel % 20


@pytest.mark.parametrize("large", [2000, 8], ids=["small classes", "large classes"])
@pytest.mark.parametrize(("split", "own"), [("train", {0, 1, 2, 3}), ("test", {7, 8, 9, 10, 11})])
def test_each_task_holds_k_and_q_images_of_n_classes_of_its_split(monkeypatch, split, own, large):
    monkeypatch.setattr("mamlbench.datasets.images._LARGE", large)  # a test class has 9 images
    tasks = loaded(Toy()).sample(split, 0, 0, 200, shots=1, queries=2)
    assert tasks.support.x.shape == (200, 3, 1, 2, 2)
    assert tasks.query.x.shape == (200, 6, 1, 2, 2)
    assert tasks.support.x.dtype == torch.float32
    assert tasks.support.y.dtype == torch.int64
    classes, images = origins(tasks.support)
    query_classes, query_images = origins(tasks.query)
    seen = set()
    for t in range(200):
        of_label = dict(zip(tasks.support.y[t].tolist(), classes[t], strict=True))
        assert set(of_label) == {0, 1, 2}
        assert len(set(of_label.values())) == 3
        assert [of_label[y] for y in tasks.query.y[t].tolist()] == query_classes[t].tolist()
        assert np.bincount(tasks.query.y[t]).tolist() == [2, 2, 2]
        rows = {*zip(classes[t], images[t], strict=True)}
        rows |= {*zip(query_classes[t], query_images[t], strict=True)}
        assert len(rows) == 9  # no image twice, so none both support and query
        seen |= rows
    # in 200 tasks every image of every class of the split turns up, and no other
    assert seen == {(c, i) for c in own for i in range(COUNTS[c])}


def test_images_of_large_classes_are_drawn_evenly(monkeypatch):
    monkeypatch.setattr("mamlbench.datasets.images._LARGE", 8)
    dataset = loaded(Toy(ways=3))
    assert dataset.words("test", 1, 2) == 5 + 3 * 3 + 0 + 3 * 1 + 3 * 2
    classes, images = origins(dataset.sample("test", 0, 0, 3000, shots=1, queries=0).support)
    for c in (7, 11):
        counts = np.bincount(images[classes == c], minlength=COUNTS[c])
        assert len(counts) == COUNTS[c]
        expected = 3000 * 3 / 5 / COUNTS[c]
        assert np.abs(counts - expected).max() < 5 * expected**0.5


def test_rows_come_in_an_order_of_their_own():
    tasks = loaded(Toy(ways=3)).sample("test", 0, 0, 300, shots=2, queries=2)
    orders = {tuple(y) for y in tasks.support.y.tolist()}
    assert len(orders) > 50  # out of 6! / (2! 2! 2!) = 90
    assert (tasks.support.y != tasks.query.y).any()
    assert np.bincount(tasks.support.y[:, 0]).min() > 60  # 100 expected


def test_task_i_is_the_same_for_any_batch_size():
    dataset = loaded(Toy(rotations="per_task"))
    together = dataset.sample("train", 3, 0, 7)
    for i in range(7):
        alone = dataset.sample("train", 3, i, 1)
        assert torch.equal(alone.support.x[0], together.support.x[i])
        assert torch.equal(alone.query.x[0], together.query.x[i])
        assert torch.equal(alone.query.y[0], together.query.y[i])
        assert alone.info["classes"].tolist() == together.info["classes"][i : i + 1].tolist()
    assert not torch.equal(dataset.sample("train", 4, 0, 7).support.x, together.support.x)


TURNS = [[[0, 50], [100, 150]], [[50, 150], [0, 100]], [[150, 100], [50, 0]], [[100, 0], [150, 50]]]


def turns_of(examples):
    """Which of the four rotations, worked out by hand above, each row has."""
    rows = (examples.x * 255).round().int().reshape(-1, 2, 2).tolist()
    return np.array([TURNS.index(row) for row in rows]).reshape(examples.x.shape[:2])


def test_per_task_rotation_turns_a_class_as_a_whole():
    dataset = loaded(Cornered(rotations="per_task", shots=1))
    tasks = dataset.sample("train", 0, 0, 100, shots=1, queries=2)
    support, query = turns_of(tasks.support), turns_of(tasks.query)
    for t in range(100):
        of_label = dict(zip(tasks.support.y[t].tolist(), support[t], strict=True))
        assert [of_label[y] for y in tasks.query.y[t].tolist()] == query[t].tolist()
    assert np.bincount(support.ravel()).min() > 40  # 75 expected for each rotation
    assert not turns_of(dataset.sample("test", 0, 0, 50).support).any()


def test_each_class_of_a_task_has_a_turn_of_its_own():
    dataset = loaded(Cornered(rotations="per_task", shots=1))
    turns = turns_of(dataset.sample("train", 0, 0, 200, shots=1, queries=0).support)
    alike = sum(len(set(row)) == 1 for row in turns.tolist())
    assert alike < 30  # 200 / 16 expected; 200 if classes shared a rotation


def test_rotated_says_which_splits_are():
    dataset = loaded(Cornered(rotations="per_task", rotated=("train", "test")))
    assert set(turns_of(dataset.sample("test", 0, 0, 50).support).ravel()) == {0, 1, 2, 3}
    assert not turns_of(dataset.sample("val", 0, 0, 50).support).any()


def test_rotations_as_classes_make_four_classes_of_each():
    dataset = loaded(Cornered(rotations="classes"))
    tasks = dataset.sample("train", 0, 0, 200, shots=1, queries=0)
    turn_of = {}
    for classes, labels, turns in zip(
        tasks.info["classes"], tasks.support.y, turns_of(tasks.support), strict=True
    ):
        for row, label in enumerate(labels.tolist()):
            assert turn_of.setdefault(classes[label], turns[row]) == turns[row]
    assert sorted(turn_of) == list(range(16))
    assert np.bincount([*turn_of.values()]).tolist() == [4, 4, 4, 4]
    assert not turns_of(dataset.sample("test", 0, 0, 50).support).any()


def test_polarity_and_normalisation():
    plain = loaded(Cornered(rotations="none")).sample("test", 0, 0, 1).support.x[0, 0, 0]
    expected = torch.tensor([[0.0, 50 / 255], [100 / 255, 150 / 255]])
    torch.testing.assert_close(plain, expected)
    inverted = loaded(Cornered(invert=True)).sample("test", 0, 0, 1).support.x[0, 0, 0]
    torch.testing.assert_close(inverted, 1 - expected)
    scaled = loaded(Cornered(mean=[0.5], std=[0.25])).sample("test", 0, 0, 1).support.x[0, 0, 0]
    torch.testing.assert_close(scaled, (expected - 0.5) / 0.25)


def test_each_channel_has_a_mean_and_a_deviation_of_its_own():
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    plain, scaled = (
        loaded(Coloured(**options)).sample("test", 0, 0, 1).support.x[0, 0]
        for options in ({}, {"mean": mean, "std": std})
    )
    for channel in range(3):
        expected = (plain[channel] - mean[channel]) / std[channel]
        torch.testing.assert_close(scaled[channel], expected)


def test_remaining_is_what_the_smallest_class_leaves():
    dataset = loaded(Toy())
    assert dataset.remaining("test", 1) == 4  # class 8 has 5
    assert dataset.sample("test", 0, 0, 2, shots=1, queries=4).query.x.shape[1] == 12


def test_what_is_known_before_reading_is_checked_before_reading():
    known = {"train": (4, 5), "val": (3, 4), "test": (5, 5)}
    with pytest.raises(BadValue, match=r"ways=4: accepted is 2 to 3: val has no more classes"):
        Toy(ways=4, known=known)
    with pytest.raises(BadValue, match=r"shots=5: accepted is 1 to 4: a class of val has 4 images"):
        Toy(shots=5, queries=0, known=known)
    with pytest.raises(BadValue, match=r"train_shots=6: accepted is 1 to 5"):
        Toy(shots=1, train_shots=6, known=known)
    with pytest.raises(BadValue, match=r"queries=3: accepted is 0 to 2: .* 3 of them support"):
        Toy(shots=3, queries=3, known=known)


def test_what_reading_shows_is_checked_then():
    with pytest.raises(
        BadValue, match=r"^dataset.ways=4: accepted is 2 to 3: val has no more classes"
    ):
        Toy(ways=4).load(CPU)
    with pytest.raises(BadValue, match=r"^dataset.queries=3: accepted is 0 to 2: train/0 has 3"):
        Toy(queries=3).load(CPU)


def test_what_is_asked_of_a_task_is_checked():
    dataset = loaded(Toy())
    with pytest.raises(BadValue, match=r"queries=5: accepted is 0 to 4: test/8 has 5"):
        dataset.sample("test", 0, 0, 1, shots=1, queries=5)
    with pytest.raises(BadValue, match=r"shots=6: accepted is 1 to 5"):
        dataset.sample("test", 0, 0, 1, shots=6, queries=0)


def test_a_split_without_classes():
    class NoVal(Toy):
        def split_classes(self, images):
            return {**super().split_classes(images), "val": np.array([], dtype=np.int64)}

    dataset = loaded(NoVal(ways=4))
    assert dataset.splits == ("train", "test")
    with pytest.raises(UserError, match="split val: this dataset has no classes for it"):
        dataset.sample("val", 0, 0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ways": 1}, "ways=1: accepted is 2 or more"),
        ({"rotations": "per_taks"}, r"did you mean 'per_task'\?"),
        ({"mean": [0.1, 0.2]}, "mean=.*1 numbers, one per channel"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(BadValue, match=message):
        Toy(**options)


def test_names_and_hash():
    dataset = Toy(ways=4, shots=2)
    assert (dataset.setting, dataset.outputs, dataset.sha256) == ("4way2shot", 4, None)
    a = ImageSet.of(np.zeros((2, 1, 1, 1), np.uint8), ["a", "b"], [1, 1]).sha256
    assert a == ImageSet.of(np.zeros((2, 1, 1, 1), np.uint8), ("a", "b"), (1, 1)).sha256
    assert a != ImageSet.of(np.zeros((2, 1, 1, 1), np.uint8), ["a"], [2]).sha256
    assert a != ImageSet.of(np.ones((2, 1, 1, 1), np.uint8), ["a", "b"], [1, 1]).sha256
