"""Meta-learning algorithms, each over many tasks at once."""

from mamlbench.algorithms.anil import ANIL
from mamlbench.algorithms.base import Adapted, FreshSupport, MetaLearner, NonFiniteError
from mamlbench.algorithms.bmaml import BMAML
from mamlbench.algorithms.emaml import EMAML
from mamlbench.algorithms.joint import Joint
from mamlbench.algorithms.learn2learn_maml import Learn2LearnMAML
from mamlbench.algorithms.maml import MAML
from mamlbench.algorithms.mamlpp import MAMLpp
from mamlbench.algorithms.meta_sgd import MetaSGD
from mamlbench.algorithms.reptile import Reptile

__all__ = [
    "ANIL",
    "BMAML",
    "EMAML",
    "MAML",
    "Adapted",
    "FreshSupport",
    "Joint",
    "Learn2LearnMAML",
    "MAMLpp",
    "MetaLearner",
    "MetaSGD",
    "NonFiniteError",
    "Reptile",
]
