"""Distributions over tasks: one file per dataset."""

from mamlbench.datasets.base import Dataset
from mamlbench.datasets.celeba import CelebA
from mamlbench.datasets.cifar_fs import CifarFS
from mamlbench.datasets.embeddings import Embeddings
from mamlbench.datasets.fc100 import FC100
from mamlbench.datasets.functions import Functions
from mamlbench.datasets.glyphs import Glyphs
from mamlbench.datasets.harmonic_sinusoid import HarmonicSinusoid
from mamlbench.datasets.image_folder import ImageFolder
from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.learn2learn import Learn2LearnBenchmark, Learn2LearnTasks
from mamlbench.datasets.mini_imagenet import MiniImagenet
from mamlbench.datasets.omniglot import Omniglot
from mamlbench.datasets.sinusoid import Sinusoid
from mamlbench.datasets.tiered_imagenet import TieredImagenet

__all__ = [
    "FC100",
    "CelebA",
    "CifarFS",
    "Dataset",
    "Embeddings",
    "Functions",
    "Glyphs",
    "HarmonicSinusoid",
    "ImageDataset",
    "ImageFolder",
    "Learn2LearnBenchmark",
    "Learn2LearnTasks",
    "MiniImagenet",
    "Omniglot",
    "Sinusoid",
    "TieredImagenet",
]
