"""More of the papers' settings, composed."""

import pytest
from test_papers import test_settings as settings

TRPO = {
    "algorithm.inner_steps": 1,
    "algorithm.outer_optimizer": "trpo",
    "dataset.discount": 0.99,
    "dataset.gae_lambda": 1.0,
    "dataset.later_steps": 0.5,
    "dataset.surrogate": "log_likelihood",
    "dataset.test_goals_seed": 1,
    "network.hidden": [100, 100],
    "network.initial_sd": 1.0,
    "network.min_sd": 1e-6,
    "evaluation.tasks": 40,
}
PAIRS = {
    ("algorithm=maml", "dataset=navigation2d"): {
        **TRPO,
        "algorithm.inner_lr": 0.1,
        "algorithm.outer_lr": 0.01,
        "dataset.horizon": 100,
        "dataset.train_shots": 20,
        "dataset.queries": 20,
        "training.meta_batch_size": 20,
        "training.iterations": 100,
    },
    ("algorithm=maml", "dataset=half_cheetah_vel"): {
        **TRPO,
        "algorithm.inner_lr": 0.1,
        "algorithm.outer_lr": 0.01,
        "dataset.horizon": 200,
        "dataset.train_shots": 10,
        "dataset.queries": 10,
        "training.meta_batch_size": 40,
    },
    ("algorithm=maml", "dataset=half_cheetah_dir"): {
        **TRPO,
        "algorithm.inner_lr": 0.1,
        "algorithm.outer_lr": 0.02,
        "dataset.horizon": 200,
        "dataset.shots": 20,
        "training.meta_batch_size": 40,
    },
    ("algorithm=maml", "dataset=ant_vel"): {
        **TRPO,
        "algorithm.inner_lr": 0.1,
        "algorithm.outer_lr": 0.01,
        "dataset.horizon": 200,
        "training.meta_batch_size": 40,
    },
}


@pytest.mark.parametrize(("typed", "expected"), PAIRS.items(), ids=map(" ".join, PAIRS))
def test_policies(typed, expected):
    settings(typed, expected)


MORE = {
    ("experiment=reptile/omniglot_20way1shot",): {
        "algorithm.inner_lr": 0.0005,
        "algorithm.inner_batch": 20,
        "algorithm.inner_steps": 10,
        "algorithm.iterations": 200_000,  # the step size goes to 0 where the training ends
        "dataset.ways": 20,
        "evaluation.transductive": False,
        "training.iterations": 200_000,
    },
    ("algorithm=reptile", "dataset=omniglot", "training.iterations=7"): {"algorithm.iterations": 7},
    ("experiment=maml/omniglot_20way1shot",): {
        "algorithm.inner_lr": pytest.approx(0.1 * 20),  # the code's loss is summed over the classes
        "algorithm.inner_steps": 5,
        "dataset.ways": 20,
        "evaluation.inner_steps": 5,
        "training.meta_batch_size": 16,
    },
}


@pytest.mark.parametrize(("typed", "expected"), MORE.items(), ids=map(" ".join, MORE))
def test_more(typed, expected):
    settings(typed, expected)
