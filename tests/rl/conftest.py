"""A small policy in float64 and tasks for it."""

from __future__ import annotations

import pytest
import torch

from mamlbench.algorithms import MAML, MetaLearner
from mamlbench.hardware.device import Hardware
from mamlbench.networks import GaussianMLP
from mamlbench.rl.control import Navigation2D
from mamlbench.tasks import TaskBatch


@pytest.fixture
def small():
    """`small(surrogate, **options)`: a learner, the dataset, and 3 tasks, all in float64."""

    def make(
        surrogate: str = "log_likelihood", cls: type = MAML, **options: object
    ) -> tuple[MetaLearner, Navigation2D, TaskBatch]:
        dataset = Navigation2D(horizon=6, shots=4, queries=4, surrogate=surrogate)
        torch.manual_seed(0)
        # tanh, because finite differences of the meta-loss allow no kinks
        network = GaussianMLP((2,), 4, hidden=(5,), activation="tanh")
        learner = cls(network, dataset.objective, **{"inner_lr": 0.3, **options}).double()
        tasks = Hardware(precision="float64").cast(dataset.sample("train", 0, 0, 3))
        return learner, dataset, tasks

    return make
