"""Test protocols and the resulting scores."""

from mamlbench.evaluation.active_learning import ActiveLearning, active_learning, active_sizes
from mamlbench.evaluation.ensemble import Ensemble
from mamlbench.evaluation.evaluate import TEST_SEED, evaluate
from mamlbench.evaluation.protocol import Protocol
from mamlbench.evaluation.scores import Scores

__all__ = [
    "TEST_SEED",
    "ActiveLearning",
    "Ensemble",
    "Protocol",
    "Scores",
    "active_learning",
    "active_sizes",
    "evaluate",
]
