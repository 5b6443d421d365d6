"""Networks that run on many tasks at once."""

from mamlbench.networks.base import Params, TaskNetwork, require_outputs
from mamlbench.networks.conv4 import Conv4
from mamlbench.networks.gaussian_policy import GaussianMLP
from mamlbench.networks.layers import Rows
from mamlbench.networks.linear import LinearClassifier
from mamlbench.networks.mlp import MLP
from mamlbench.networks.wrn import WideResNet

__all__ = [
    "MLP",
    "Conv4",
    "GaussianMLP",
    "LinearClassifier",
    "Params",
    "Rows",
    "TaskNetwork",
    "WideResNet",
    "require_outputs",
]
