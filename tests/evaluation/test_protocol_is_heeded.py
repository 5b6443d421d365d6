"""The protocol's settings reach tests and active learning."""

import numpy as np
import torch
from test_evaluate import DATASET, PROTOCOL, glyphs_and_learner

from mamlbench.algorithms import Reptile
from mamlbench.evaluation import TEST_SEED, Protocol, active_learning, evaluate
from mamlbench.evaluation.active_learning import active_sizes, with_pool
from mamlbench.hardware.device import Hardware
from mamlbench.networks import MLP
from mamlbench.objectives import Regression


def test_the_protocol_says_which_queries_share_statistics():
    dataset, learner = glyphs_and_learner()
    learner, hardware, found = learner.double(), Hardware(precision="float64"), []
    tasks = hardware.cast(dataset.sample("test", TEST_SEED, 0, 2, 1, 4))
    for transductive in (True, False):
        protocol = Protocol(tasks=2, queries=4, inner_steps=1, transductive=transductive)
        found.append(evaluate(learner, dataset, "test", protocol, hardware).by_task["loss"])
        with torch.no_grad():
            adapted = learner.adapt(tasks.support, 1)
            for step in (0, 1):
                outputs = learner.predict(adapted, tasks.query.x, step, transductive)
                expected = learner.objective.metrics(outputs, tasks.query.y)["loss"]
                np.testing.assert_allclose(found[-1][step], expected, rtol=1e-9)
    assert (np.abs(found[0] - found[1]) > 1e-3).all()


def test_a_learner_is_tested_in_evaluation_mode():
    """Reptile's mini-batches are then those of meta-test: here the whole support set."""
    torch.manual_seed(0)
    options = {"inner_lr": 0.05, "inner_optimizer": "sgd", "inner_batch": 1, "test_batch": None}
    learner = Reptile(MLP((1,), 1, hidden=(6,)), Regression(), **options).double()
    hardware = Hardware(precision="float64")
    scores = evaluate(learner.train(), DATASET, "test", PROTOCOL, hardware)
    tasks = hardware.cast(DATASET.sample("test", TEST_SEED, 0, 7, 5, 4))
    adapted = learner.eval().adapt(tasks.support, 3)
    with torch.no_grad():
        outputs = learner.predict(adapted, tasks.query.x)
    expected = Regression().metrics(outputs, tasks.query.y)["mse"]
    np.testing.assert_allclose(scores.by_task["mse"][-1], expected, rtol=1e-9)


def test_labels_are_asked_for_by_the_protocol():
    """With the protocol's inner steps, not the learner's own, and its transduction."""
    dataset, learner = glyphs_and_learner()
    learner, hardware, found = learner.double().eval(), Hardware(precision="float64"), []
    options = {"tasks": 2, "queries": 4, "inner_steps": 2, "active_rounds": 1, "active_pool": 3}
    for transductive in (True, False):
        protocol = Protocol(**options, transductive=transductive)
        curves = active_learning(learner, dataset, protocol, hardware).by_task
        found.append(curves["random"]["nll"][0])  # before any label
        sizes = active_sizes(dataset, protocol)
        tasks = hardware.cast(dataset.sample("test", TEST_SEED, 0, 2, *sizes))
        support, _, query = with_pool(tasks, 3)
        with torch.no_grad():
            outputs = learner.predict(learner.adapt(support, 2), query.x, -1, transductive)
        expected = learner.objective.scores(outputs, query.y)["nll"]
        np.testing.assert_allclose(found[-1], expected, rtol=1e-9)
    assert (np.abs(found[0] - found[1]) > 1e-3).all()
