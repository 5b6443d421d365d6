"""learn2learn's tasksets as datasets, on a taskset in memory."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mamlbench.datasets import Learn2LearnBenchmark, Learn2LearnTasks
from mamlbench.errors import BadValue, UserError

CLASSES, EXAMPLES = 12, 7


def value(label: int, example: int) -> float:
    """The value of every pixel of an example, which identifies its class and number."""
    return label + example / 10


@pytest.fixture(scope="module")
def whole(l2l):
    pairs = [(label, example) for label in range(CLASSES) for example in range(EXAMPLES)]
    x = torch.stack([torch.full((1, 2, 2), value(*pair)) for pair in pairs])
    y = torch.tensor([label for label, _ in pairs])
    return l2l.data.MetaDataset(torch.utils.data.TensorDataset(x, y))


def slow_transforms(l2l, dataset, ways=3, samples=2):
    t = l2l.data.transforms
    draw = [t.NWays(dataset, ways), t.KShots(dataset, samples)]
    return [*draw, t.LoadData(dataset), t.RemapLabels(dataset), t.ConsecutiveLabels(dataset)]


def fused_transforms(l2l, dataset, ways=3, samples=2):
    t = l2l.data.transforms
    draw = t.FusedNWaysKShots(dataset, n=ways, k=samples)
    return [draw, t.LoadData(dataset), t.RemapLabels(dataset), t.ConsecutiveLabels(dataset)]


@pytest.fixture(params=[slow_transforms, fused_transforms])
def tasks(request, l2l, whole):
    taskset = l2l.data.Taskset(whole, request.param(l2l, whole), num_tasks=5)
    return Learn2LearnTasks({"train": taskset}, ways=4, shots=2, queries=3)


def test_tasks_are_what_was_asked_for(tasks):
    """Ways, shots and queries differ from the taskset's; support and query are disjoint."""
    batch = tasks.sample("train", seed=0, first=0, count=6)
    assert batch.support.x.shape == (6, 8, 1, 2, 2)
    assert batch.query.x.shape == (6, 12, 1, 2, 2)
    for task in range(6):
        support, query = batch.support[task : task + 1], batch.query[task : task + 1]
        assert support.y.tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]
        assert query.y.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]]
        values = torch.cat([support.x, query.x], dim=1)[0, :, 0, 0, 0]
        assert len(values.unique()) == 20
        labels = torch.cat([support.y, query.y], dim=1)[0]
        drawn = [set(values[labels == n].floor().tolist()) for n in range(4)]
        assert all(len(classes) == 1 for classes in drawn)
        assert len(set.union(*drawn)) == 4


def test_a_task_is_a_function_of_seed_split_and_index(tasks):
    batch = tasks.sample("train", seed=3, first=0, count=6)
    random.seed(99)
    torch.manual_seed(99)
    alone = tasks.sample("train", seed=3, first=4, count=1)
    assert torch.equal(alone.support.x[0], batch.support.x[4])
    assert torch.equal(alone.query.x[0], batch.query.x[4])
    other = tasks.sample("train", seed=4, first=0, count=6)
    assert not torch.equal(other.support.x, batch.support.x)
    assert not torch.equal(batch.support.x[0], batch.support.x[1])


def test_the_global_generators_are_left_alone(tasks):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    expected = random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    tasks.sample("train", seed=0, first=0, count=2)
    assert (random.random(), np.random.random(), torch.rand(1)) == expected  # noqa: NPY002


def test_every_class_and_example_is_drawn_equally_often(tasks):
    batch = tasks.sample("train", seed=0, first=0, count=300)
    drawn = (batch.support.x[..., 0, 0, 0] * 10).round().long()
    counts = torch.bincount(drawn.flatten(), minlength=10 * CLASSES).view(CLASSES, 10)
    assert counts[:, EXAMPLES:].sum() == 0
    expected = 300 * 8 / (CLASSES * EXAMPLES)
    # five standard deviations of a binomial count
    assert (counts[:, :EXAMPLES] - expected).abs().max() < 5 * expected**0.5


def test_no_class_is_in_two_splits(l2l, whole):
    """As in learn2learn's Omniglot: filtered datasets, transforms over the whole dataset."""
    filtered = {
        "train": l2l.data.FilteredMetaDataset(whole, labels=[0, 3, 5, 7, 9, 11]),
        "test": l2l.data.FilteredMetaDataset(whole, labels=[1, 2, 4, 6]),
    }
    tasksets = {
        split: l2l.data.Taskset(part, fused_transforms(l2l, whole))
        for split, part in filtered.items()
    }
    data = Learn2LearnTasks(tasksets, ways=3, shots=1, queries=1)
    assert data.splits == ("train", "test")
    for split, part in filtered.items():
        x = data.sample(split, seed=0, first=0, count=100).support.x
        assert set(x.floor().long().flatten().tolist()) == set(part.labels)


def test_learn2learn_draws_the_same_from_the_same_generator(l2l, whole):
    """Our task is the one that its own taskset gives when seeded as we seed it."""
    taskset = l2l.data.Taskset(whole, slow_transforms(l2l, whole, ways=3, samples=2))
    data = Learn2LearnTasks({"train": taskset}, ways=3, shots=1, queries=1)
    u = np.array([[12345 * 2.0**-53]])
    ours = data.make("train", u, shots=1, queries=1)
    random.seed(12345)
    x, y = taskset[0]
    order = torch.argsort(y, stable=True)
    theirs = x[order].view(3, 2, 1, 2, 2)
    assert torch.equal(ours.support.x[0], theirs[:, 0])
    assert torch.equal(ours.query.x[0], theirs[:, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ways": 13}, "ways=13: accepted is 2 to 12: train has no more classes"),
        ({"shots": 8}, "shots=8: accepted is 1 to 7: a class of train has 7 examples"),
        ({"shots": 4, "queries": 4}, "queries=4: accepted is 0 to 3: .*4 of them support"),
    ],
)
def test_more_than_there_is(l2l, whole, arguments, message):
    taskset = l2l.data.Taskset(whole, slow_transforms(l2l, whole))
    with pytest.raises(BadValue, match=message):
        Learn2LearnTasks({"train": taskset}, **arguments)


def test_a_taskset_with_transforms_of_its_own(l2l, whole):
    """If we cannot choose the number of samples, a task that does not fit is refused."""
    transforms = slow_transforms(l2l, whole, ways=3, samples=2)

    def draw(description):
        for transform in transforms:
            description = transform(description)
        return description

    taskset = l2l.data.Taskset(whole, draw)
    fits = Learn2LearnTasks({"train": taskset}, ways=3, shots=1, queries=1)
    assert fits.sample("train", 0, 0, 2).support.x.shape == (2, 3, 1, 2, 2)
    other = Learn2LearnTasks({"train": taskset}, ways=4, shots=1, queries=1)
    with pytest.raises(UserError, match=r"\[2, 2, 2, 0\] examples.* 2 of each of 4"):
        other.sample("train", 0, 0, 2)


def test_benchmarks_by_name(l2l, monkeypatch, tmp_path, whole):
    """The name, the shape known beforehand, and what is asked of learn2learn."""
    data = Learn2LearnBenchmark("fc100", ways=3, queries=2, root=str(tmp_path))
    assert (data.input_shape, data.outputs, data.setting) == ((3, 32, 32), 3, "3way1shot")
    asked = {}

    def get_tasksets(name, **options):
        asked.update(options, name=name)
        taskset = l2l.data.Taskset(whole, slow_transforms(l2l, whole))
        return taskset, taskset, taskset

    monkeypatch.setattr(l2l.vision.benchmarks, "get_tasksets", get_tasksets)
    data.load(torch.device("cpu"))
    assert (asked["name"], asked["root"]) == ("fc100", str(tmp_path / "learn2learn"))
    assert data.splits == ("train", "val", "test")
    assert data.sample("test", 0, 0, 2, shots=2, queries=4).query.y.shape == (2, 12)
    with pytest.raises(BadValue, match=r"taskset=fc10: accepted is .*did you mean 'fc100'"):
        Learn2LearnBenchmark("fc10")
    with pytest.raises(BadValue, match="ways=21: accepted is 2 to 20: val has no more classes"):
        Learn2LearnBenchmark("fc100", ways=21)


def test_a_failed_download_is_one_line(l2l, monkeypatch, tmp_path):
    def no_network(name, **options):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(l2l.vision.benchmarks, "get_tasksets", no_network)
    with pytest.raises(UserError) as error:
        Learn2LearnBenchmark("cifarfs", root=str(tmp_path)).load(torch.device("cpu"))
    assert str(error.value).startswith(f"{tmp_path}/learn2learn: ")
    assert "cifarfs (no route to host and more)" in str(error.value)
    assert "\n" not in str(error.value)
