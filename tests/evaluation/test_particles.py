"""Learners with particles: the size of task chunks depends on P and does not change scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamlbench.algorithms.platipus import PLATIPUS
from mamlbench.datasets.sine_line import SineLine
from mamlbench.evaluation import Protocol, evaluate
from mamlbench.hardware import device as hardware_module
from mamlbench.hardware.device import Hardware
from mamlbench.networks import MLP
from mamlbench.objectives import Regression


@pytest.mark.parametrize(("particles", "together"), [(1, 4), (4, 1)])
def test_adapted_parameters_are_kept_of_few_tasks_at_a_time(monkeypatch, particles, together):
    torch.manual_seed(0)
    network = MLP((1,), 1, hidden=(6,))  # 19 weights, kept after 0, 1 and 2 steps
    learner = PLATIPUS(network, Regression(), particles=particles, prior_std=0.3).double()
    protocol, hardware = Protocol(tasks=7, inner_steps=2), Hardware(precision="float64")
    expected = evaluate(learner, SineLine(), "test", protocol, hardware)
    adapt, sizes = learner.adapt, []

    def counted(support, steps):
        sizes.append(len(support))
        return adapt(support, steps)

    monkeypatch.setattr(learner, "adapt", counted)
    monkeypatch.setitem(hardware_module._KEPT_VALUES, "cpu", 19 * 3 * 4)
    found = evaluate(learner, SineLine(), "test", protocol, hardware)
    assert max(sizes) == together
    assert sum(sizes) == 7
    np.testing.assert_allclose(found.by_task["mse"], expected.by_task["mse"], rtol=1e-12)
