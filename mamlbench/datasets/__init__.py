"""Distributions over tasks: one file a dataset."""

from mamlbench.datasets.base import Dataset
from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.mini_imagenet import MiniImagenet
from mamlbench.datasets.omniglot import Omniglot
from mamlbench.datasets.sinusoid import Sinusoid

__all__ = ["Dataset", "ImageDataset", "MiniImagenet", "Omniglot", "Sinusoid"]
