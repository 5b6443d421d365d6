"""What a test takes from training: moments, and norms of each step."""

import copy

import pytest
import torch
from problems import mlp, sinusoids
from test_mamlpp import EXACT, learner_of
from test_reptile import line, slopes, tf_adam

from mamlbench.algorithms import Reptile
from mamlbench.networks import Rows
from mamlbench.objectives import Regression
from mamlbench.tasks import TaskBatch


@pytest.mark.parametrize("moments", ["serial", "shared", "fresh"])
def test_a_test_goes_on_from_the_moments_of_the_training(moments):
    """As the official code, whose optimiser's slots stay; where each task has its own, from 0."""
    options = {"inner_lr": 0.1, "inner_steps": 2, "inner_batch": None, "moments": moments}
    learner = Reptile(line(), Regression(), **options, outer_lr=0.5, outer_optimizer="sgd")
    learner.meta_step(TaskBatch(slopes(2.0, -1.0), slopes(2.0, -1.0)))
    begin = learner.network.head.bias.item()
    slot = learner.get_buffer(f"moment_{learner.adapted_names.index('head.bias')}").item()
    learner.eval()
    for _ in range(2):  # a test leaves them as they were
        found = learner.adapt(slopes(3.0)).params[-1]["head.bias"].item()
        expected, _, _ = tf_adam(lambda b: 2 * b + 3.0, begin, 2, slot, learner.moment_steps, 0.1)
        assert found == pytest.approx(expected, rel=1e-12)
    assert (slot > 0) is (moments != "fresh")


def test_before_any_step_the_norms_are_those_of_the_first():
    network = mlp(norm="batch", affine="scale_shift")
    learner = learner_of(network, Regression(), per_step_affine=True)
    plain, tasks = copy.deepcopy(network), sinusoids(2)
    with torch.no_grad():
        for name, values in zip(learner.norm_names, learner.step_norms, strict=True):
            values += torch.arange(1.0, 4.0).unsqueeze(1)  # as if learned: 1, 2 and 3 more
            dict(plain.named_parameters())[name].copy_(values[0])
        found = learner.predict(learner.adapt(tasks.support), tasks.query.x, 0)
        torch.testing.assert_close(found[:, 0], plain(tasks.query.x, Rows()), **EXACT)
