"""Each YAML has exactly the options of its class, with values that the class accepts."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import get_object
from registered import composed

from mamlbench.config.build import build, construct, constructor_options, plain
from mamlbench.config.tree import ConfigTree
from mamlbench.datasets import Sinusoid
from mamlbench.evaluation import Protocol
from mamlbench.hardware.device import Hardware
from mamlbench.networks import Rows
from mamlbench.slurm.options import NAMES, Submission, of_the_run

# arguments that come from the run, not from the YAML
CONTEXT = {
    "algorithm": {"network", "objective", "task_chunk"},
    "network": {"input_shape", "outputs"},
}
# options of the parent class that have no effect
UNUSED = {
    "joint": {"first_order", "learn_inner_lr"},
    "meta_sgd": {"learn_inner_lr"},
    "multi_task": {"first_order", "learn_inner_lr"},
}
CLASSES = {"hardware": Hardware, "evaluation": Protocol}
GROUPS = ("algorithm", "dataset", "network", "hardware", "evaluation")
CHOICES = [(group, choice) for group in GROUPS for choice in ConfigTree().choices(group)]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_keys_are_the_constructors_options(group, choice):
    node = composed(f"{group}={choice}")[group]
    if group == "hardware":
        node = of_the_run(node)
    cls = CLASSES.get(group) or get_object(node.pop("_target_"))
    schema, required = constructor_options(cls)
    context = CONTEXT.get(group, set())
    assert node.keys() == schema.keys() - context - UNUSED.get(choice, set())
    assert required <= node.keys() | context


@pytest.mark.parametrize("choice", ["slurm_cpu", "slurm_gpu", "slurm_nodes"])
def test_what_is_asked_of_slurm_is_what_a_submission_takes(choice):
    node = composed(f"hardware={choice}")["hardware"]
    asked = {name: value for name, value in node.items() if name not in of_the_run(node)}
    assert asked.keys() == set(NAMES)
    construct(Submission, plain(asked), "hardware")


@pytest.mark.parametrize("choice", ConfigTree().choices("network"))
def test_networks_build_for_images(choice):
    node = composed("dataset=omniglot", f"network={choice}")["network"]
    network = build(node, "network", input_shape=(1, 28, 28), outputs=6)
    assert network(torch.zeros(1, 2, 1, 28, 28), Rows()).shape == (1, 2, 6)


def test_sinusoid_is_built_as_its_yaml_says():
    dataset = build(composed("dataset=sinusoid")["dataset"], "dataset")
    assert isinstance(dataset, Sinusoid)
    assert (dataset.shots, dataset.queries, dataset.phase) == (10, 10, (0.0, 1.0))
