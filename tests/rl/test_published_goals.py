"""The goals that MAML's scripts test on: uniform in a box, from NumPy's seeded legacy generator."""

from __future__ import annotations

import numpy as np
import pytest

from mamlbench.compose import experiment
from mamlbench.rl.control import Navigation2D

# numpy.random.seed(1), then random(): 0.417022, 0.720324, 0.000114, 0.302333, 0.146756, 0.092339
OF_SEED_1 = [0.417022, 0.720324, 0.000114, 0.302333, 0.146756, 0.092339]


def goals(dataset, split="test", first=0, count=3):
    return dataset.sample(split, seed=0, first=first, count=count).info["goal"]


def test_the_planes_goals_are_the_scripts():
    dataset = experiment(["dataset=navigation2d", "logger=csv"]).dataset
    expected = np.array(OF_SEED_1).reshape(3, 2) - 0.5
    np.testing.assert_allclose(goals(dataset), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("half_cheetah_vel", [2.0 * u for u in OF_SEED_1]),
        ("half_cheetah_dir", [-1.0, 1.0, -1.0, -1.0, -1.0, -1.0]),
        ("ant_vel", [3.0 * u for u in OF_SEED_1]),
        # numpy.random.seed(2): 0.435995, 0.025926, 0.549662, 0.435322, 0.420368, 0.330335
        ("ant_dir", [-1.0, -1.0, 1.0, -1.0, -1.0, -1.0]),
    ],
)
def test_the_bodies_goals_are_the_scripts(name, expected):
    pytest.importorskip("mujoco")
    dataset = experiment([f"dataset={name}", "logger=csv"]).dataset
    np.testing.assert_allclose(goals(dataset, count=6), expected, atol=1e-5)


def test_a_part_of_the_goals_is_a_part_of_all():
    dataset = Navigation2D(test_goals_seed=1)
    whole = goals(dataset, count=40)
    np.testing.assert_array_equal(goals(dataset, first=17, count=5), whole[17:22])


@pytest.mark.parametrize("split", ["train", "val"])
def test_other_splits_keep_their_own(split):
    own = goals(Navigation2D(), split)
    np.testing.assert_array_equal(goals(Navigation2D(test_goals_seed=1), split), own)
    assert (goals(Navigation2D()) != goals(Navigation2D(test_goals_seed=1))).all()
