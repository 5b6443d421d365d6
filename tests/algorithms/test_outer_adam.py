"""The outer Adam is torch's."""

import copy

import torch
from problems import mlp, sinusoids

from mamlbench.algorithms import MAML
from mamlbench.objectives import Regression


def test_the_outer_adam_is_torchs():
    """Of β1 = 0.9 and β2 = 0.999, over steps enough to tell."""
    network = mlp()
    learner = MAML(network, Regression(), outer_lr=0.01)
    other = MAML(copy.deepcopy(network), Regression())
    plain = torch.optim.Adam(other.parameters(), lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    for seed in range(4):
        learner.meta_step(sinusoids(2, seed=seed))
        other.meta_gradient(sinusoids(2, seed=seed))
        plain.step()
        pairs = zip(learner.parameters(), other.parameters(), strict=True)
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
