"""Circles: labels, and points that are uniform in both parts of the square."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mamlbench.datasets.circles2d import Circles2D
from mamlbench.errors import BadValue


def test_labels_are_the_side_of_the_circle():
    tasks = Circles2D(shots=3, queries=5).sample("train", 0, 0, 200)
    centre = np.stack([tasks.info["centre_x"], tasks.info["centre_y"]], axis=-1)
    for side in (tasks.support, tasks.query):
        distance = np.linalg.norm(side.x.double().numpy() - centre[:, None], axis=-1)
        inside = distance < tasks.info["radius"][:, None] + 1e-6
        np.testing.assert_array_equal(side.y.numpy() == 1, inside)
        assert side.x.abs().max() <= 5


def test_support_is_ambiguous_unless_both_are_asked_for():
    tasks = Circles2D(shots=3, queries=2).sample("test", 0, 0, 4)
    assert tasks.support.y.tolist() == [[1, 1, 1]] * 4
    assert tasks.query.y.tolist() == [[0, 0, 1, 1]] * 4
    both = Circles2D(shots=3, queries=2, support="both").sample("test", 0, 0, 4)
    assert both.support.y.tolist() == [[0, 0, 0, 1, 1, 1]] * 4


def test_circles_are_uniform():
    info = Circles2D().sample("test", 0, 0, 3000).info
    for name, low, high in (("centre_x", -3, 3), ("centre_y", -3, 3), ("radius", 0.1, 2.0)):
        assert stats.kstest(info[name], "uniform", (low, high - low)).pvalue > 0.001


def test_points_are_uniform_in_the_circle_and_in_the_rest_of_the_square():
    """One circle of radius 2 in a square of 6 x 6, against rejection sampling."""
    dataset = Circles2D(queries=6000, centre=(0.5, 0.5), radius=(2.0, 2.0), domain=(-3.0, 3.0))
    query = dataset.sample("train", 0, 0, 1).query
    points = np.random.default_rng(0).uniform(-3, 3, (40_000, 2))
    inside = np.hypot(*(points - 0.5).T) < 2.0
    for label, expected in ((0, points[~inside]), (1, points[inside])):
        found = query.x[0][query.y[0] == label].numpy()
        directions = np.array([[1, 0], [0, 1], [1, 1], [1, -1]])
        for direction in directions:
            assert stats.ks_2samp(found @ direction, expected @ direction).pvalue > 0.001
        distances = (np.hypot(*(part - 0.5).T) for part in (found, expected))
        assert stats.ks_2samp(*distances).pvalue > 0.001


def test_labels_of_a_grid_by_hand():
    info = {"centre_x": np.array([0.0, 1.0]), "centre_y": np.zeros(2), "radius": np.ones(2)}
    x = np.array([[0.0, 0.5], [1.5, 0.5], [0.0, 1.5]])
    assert Circles2D().labels(info, x).tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"radius": (0.0, 1.0)}, "radius"),
        ({"radius": (0.1, 2.5)}, "radius"),
        ({"centre": (-4.0, 4.0)}, "radius"),
        ({"centre": (1.0, 0.0)}, "centre"),
        ({"domain": (1.0, 0.0)}, "domain"),
        ({"shots": 0}, "shots"),
        ({"support": "positive"}, "support"),
    ],
)
def test_bad_values_are_named(options, named):
    with pytest.raises(BadValue) as error:
        Circles2D(**options)
    assert error.value.option == named
