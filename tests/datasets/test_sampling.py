"""Random numbers of tasks: stretches of one stream, and choices without replacement."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mamlbench.datasets.sampling import choose, choose_few, task_words, to_uniform
from mamlbench.errors import UserError


@pytest.mark.parametrize("words", [1, 3, 4, 5, 9])
def test_a_task_owns_its_stretch(words):
    whole = task_words(7, "train", 0, 20, words)
    assert whole.shape == (20, words)
    assert whole.dtype == np.uint64
    for first, count in ((0, 1), (3, 5), (19, 1)):
        part = task_words(7, "train", first, count, words)
        np.testing.assert_array_equal(part, whole[first : first + count])
    assert len(np.unique(whole)) == whole.size  # no stretch overlaps another


def test_far_tasks_need_no_walk_through_the_others():
    far = 10**12
    np.testing.assert_array_equal(
        task_words(0, "test", far, 2, 5)[1], task_words(0, "test", far + 1, 1, 5)[0]
    )


def test_streams_differ_by_seed_and_split():
    streams = [
        task_words(seed, split, 0, 50, 4)
        for seed in (0, 1, 2**40)
        for split in ("train", "val", "test")
    ]
    assert len(np.unique(np.stack(streams))) == 9 * 200


def test_to_uniform_by_hand():
    words = np.array([0, 2**63, 2**64 - 1, 2**11 - 1], dtype=np.uint64)
    assert to_uniform(words).tolist() == [0.0, 0.5, 1 - 2.0**-53, 0.0]


def test_uniform_numbers_are_uniform_and_independent():
    u = to_uniform(task_words(0, "train", 0, 5000, 4))
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 0.001
    correlation = np.corrcoef(u.T) - np.eye(4)
    assert np.abs(correlation).max() < 5 / 5000**0.5


def test_choose_gives_distinct_indices_in_random_order():
    keys = np.random.default_rng(0).random((4000, 6))
    chosen = choose(keys, 3)
    assert chosen.shape == (4000, 3)
    assert all(len(set(row)) == 3 for row in chosen.tolist())
    # all 6 * 5 * 4 ordered choices are equally likely: 4000 / 120 of each
    codes = chosen @ np.array([36, 6, 1])
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 120
    assert stats.chisquare(counts).pvalue > 0.001


def test_choose_by_hand():
    keys = np.array([0.5, 0.1, 0.9, 0.3])
    assert choose(keys, 4).tolist() == [1, 3, 0, 2]
    assert choose(keys, 2).tolist() == [1, 3]


def test_choose_leaves_out_what_is_not_there():
    keys = np.random.default_rng(1).random((500, 2, 7))
    sizes = np.where(np.arange(500)[:, None] % 2 == 0, [[3, 7]], [[4, 5]])
    chosen = choose(keys, 3, sizes)
    assert (chosen < sizes[..., None]).all()
    assert all(len(set(row)) == 3 for row in chosen.reshape(-1, 3).tolist())
    assert set(chosen[::2, 0].ravel()) == {0, 1, 2}


def test_choose_refuses_more_than_there_are():
    keys = np.random.default_rng(1).random((2, 7))
    with pytest.raises(UserError, match=r"^8 rows to choose from 7; accepted is 7 at most$"):
        choose(keys, 8)
    with pytest.raises(UserError, match=r"^5 rows to choose from 4; accepted is 4 at most$"):
        choose(keys, 5, np.array([6, 4]))


def test_choose_few_is_the_beginning_of_a_shuffle():
    """By hand: 0 1 2 3 4, then 3 | 1 2 0 4, then 3 0 | 2 1 4, then 3 0 4 | 1 2."""
    assert choose_few(np.array([0.7, 0.5, 0.99]), 5).tolist() == [3, 0, 4]
    assert choose_few(np.array([0.0, 0.0]), 2).tolist() == [0, 1]
    assert choose_few(np.zeros(0), 0).tolist() == []


def test_choose_few_gives_each_ordered_choice_as_often():
    chosen = [choose_few(keys, 6) for keys in np.random.default_rng(2).random((4000, 3))]
    assert all(len(set(row.tolist())) == 3 for row in chosen)
    _, counts = np.unique(np.stack(chosen) @ np.array([36, 6, 1]), return_counts=True)
    assert len(counts) == 120
    assert stats.chisquare(counts).pvalue > 0.001
