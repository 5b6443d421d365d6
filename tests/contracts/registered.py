"""Configs found by their files, and tiny problems that every learner must be able to solve."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module

from mamlbench.algorithms import MetaLearner
from mamlbench.config.build import build, plain
from mamlbench.datasets import Sinusoid
from mamlbench.errors import UserError
from mamlbench.networks import MLP, Conv4
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import Examples, TaskBatch

ITERATIONS = 20
# an algorithm's own networks are small too; LEO, which generates parameters, takes smaller steps
SMALL = {
    "leo": {"latent_size": 8, "relation_hidden": (16, 16), "bias": True, "outer_lr": 0.006},
    # the mean of networks that were trained independently has learned nothing
    "multi_task": {"task_steps": 60, "task_lr": 0.02, "penalty": "mean", "penalty_weight": 0.02},
}


def composed(*overrides: str) -> dict:
    """The groups of a composed config, as plain values that the caller may change."""
    return copy.deepcopy(_composed(*overrides))


@functools.cache
def _composed(*overrides: str) -> dict:
    with initialize_config_module("mamlbench.conf", version_base="1.3"):
        config = compose("config", list(overrides))
        return {
            group: plain(config[group])
            for group in ("algorithm", "dataset", "network", "hardware", "evaluation")
        }


class Problem:
    """Three tasks of one objective in float64, and a small network for them."""

    def __init__(self, objective: str) -> None:
        self.name = objective

    def tasks(self, count: int = 3, seed: int = 0) -> TaskBatch:
        if self.name == "regression":
            batch = Sinusoid(shots=6, queries=6).sample("train", seed, 0, count)
            sides = (batch.support.x, batch.support.y), (batch.query.x, batch.query.y)
            support, query = (Examples(x.double(), y.double()) for x, y in sides)
            return TaskBatch(Examples(support.x, support.y, batch.support.seeds), query)
        generator = torch.Generator().manual_seed(seed)
        glyphs = torch.rand(count, 3, 1, 6, 6, generator=generator).round().double()
        y = torch.arange(6).remainder(3)
        support, query = (
            glyphs[:, y] + 0.2 * torch.randn(count, 6, 1, 6, 6, generator=generator).double()
            for _ in range(2)
        )
        labels = y.expand(count, -1).clone()
        return TaskBatch(Examples(support, labels, np.arange(count)), Examples(query, labels))

    def learner(
        self, algorithm: str, activation: str = "relu", frozen: bool = False, **options: object
    ) -> MetaLearner:
        """A learner as in the algorithm's config, but with a small network and larger steps.

        Args:
            frozen: whether the network's first layer is not to be trained.
        """
        pair = f"algorithm={algorithm}", "dataset=image_folder"  # for which there is no preset
        node = composed(*pair, f"training.iterations={ITERATIONS}")["algorithm"]
        # a YAML may leave out options of its class
        if "outer_lr" in node and node.get("outer_optimizer", "adam") == "adam":
            node["outer_lr"] = 0.02
        if "inner_lr" in node:
            node["inner_lr"] = max(node["inner_lr"], 0.01)
        torch.manual_seed(0)
        if self.name == "regression":
            objective, network = Regression(), MLP((1,), 1, hidden=(16,), activation=activation)
        else:
            options_of_network = {"filters": 4, "blocks": 2, "activation": activation}
            objective, network = Classification(), Conv4((1, 6, 6), 3, **options_of_network)
        if frozen:
            next(network.children()).requires_grad_(False)
        context = {"network": network, "objective": objective}
        try:
            return build(node | SMALL.get(algorithm, {}) | options, "algorithm", **context).double()
        except UserError as error:
            if "learn2learn is not installed" in str(error):
                pytest.skip(str(error))
            raise
