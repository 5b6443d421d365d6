"""What holds for every dataset that has a config and needs no files."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from registered import composed

from mamlbench.config.build import build, constructor_options
from mamlbench.config.tree import ConfigTree
from mamlbench.datasets.base import Dataset
from mamlbench.datasets.checks import check_tasks
from mamlbench.rl.control import Control

pytestmark = pytest.mark.parametrize("choice", ConfigTree().choices("dataset"))


@functools.cache
def loaded(choice: str) -> Dataset:
    node = composed(f"dataset={choice}")["dataset"]
    if "root" in node:
        pytest.skip(f"{choice} needs files")
    if choice == "gym":
        pytest.skip("gym needs an environment: see tests/rl/test_gym.py")
    dataset = build(node, "dataset")
    if isinstance(dataset, Control):
        pytest.skip(f"{choice} has no examples until a policy acts: see tests/rl")
    dataset.load(torch.device("cpu"))
    return dataset


def same(one, other) -> bool:
    return all(
        torch.equal(getattr(one, side).x, getattr(other, side).x)
        and torch.equal(getattr(one, side).y, getattr(other, side).y)
        for side in ("support", "query")
    )


def test_task_i_is_the_same_for_any_batch(choice):
    dataset = loaded(choice)
    for split in dataset.splits:
        whole = dataset.sample(split, 3, 0, 7)
        for first, count in ((0, 1), (2, 3), (6, 1)):
            part = dataset.sample(split, 3, first, count)
            assert same(part, whole[first : first + count])
            assert (
                part.support.seeds.tolist() == whole.support.seeds[first : first + count].tolist()
            )


def test_tasks_differ_by_index_seed_and_split(choice):
    dataset = loaded(choice)
    base = dataset.sample("train", 0, 0, 1)
    others = [("train", 0, 1), ("train", 1, 0), ("test", 0, 0), ("val", 0, 0)]
    for split, seed, first in others:
        shape = {"shots": dataset.train_shots, "queries": dataset.queries}
        assert not same(base, dataset.sample(split, seed, first, 1, **shape))


def test_shapes_and_targets(choice):
    dataset = loaded(choice)
    tasks = dataset.sample("test", 0, 0, 3, shots=2, queries=4)
    assert tasks.support.x.shape == (3, 2 * dataset.support_ways, *dataset.input_shape)
    assert tasks.query.x.shape == (3, 4 * dataset.ways, *dataset.input_shape)
    assert tasks.support.x.dtype == torch.float32
    if dataset.ways > 1:
        absent = dataset.ways - dataset.support_ways
        for side, expected in (
            (tasks.support, [0] * absent + [2] * dataset.support_ways),
            (tasks.query, [4] * dataset.ways),
        ):
            assert side.y.dtype == torch.int64
            for labels in side.y:
                assert torch.bincount(labels).tolist() == expected
    else:
        assert tasks.query.y.shape == (3, 4, dataset.outputs)


def test_tasks_are_as_declared(choice):
    dataset = loaded(choice)
    for split in dataset.splits:
        check_tasks(dataset, split, 2, 4)


def test_support_and_query_share_no_example(choice):
    tasks = loaded(choice).sample("train", 0, 0, 5)
    for support, query in zip(tasks.support.x, tasks.query.x, strict=True):
        rows = torch.cat([support, query]).flatten(1)
        assert len(torch.unique(rows, dim=0)) == len(rows)


def test_class_splits_know_no_seed(choice):
    """Datasets take no seed, and no two splits share a picture under any seed."""
    dataset = loaded(choice)
    assert "seed" not in constructor_options(type(dataset))[0]
    if dataset.ways == 1:
        return
    seen = {}
    for split in ("train", "val", "test"):
        batches = [dataset.sample(split, seed, 0, 60, 1, 1) for seed in (0, 1)]
        pictures = torch.cat([batch.support.x.flatten(0, 1) for batch in batches])
        seen[split] = {np.asarray(picture).tobytes() for picture in pictures}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["val"]
    assert not seen["val"] & seen["test"]
