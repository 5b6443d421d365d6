"""Meta-learning algorithms, each over many tasks at once."""

from mamlbench.algorithms.adapted import Adapted, FreshSupport
from mamlbench.algorithms.anil import ANIL
from mamlbench.algorithms.base import MetaLearner
from mamlbench.algorithms.bmaml import BMAML
from mamlbench.algorithms.context_vector import ContextVector
from mamlbench.algorithms.emaml import EMAML
from mamlbench.algorithms.finite import NonFiniteError
from mamlbench.algorithms.joint import Joint
from mamlbench.algorithms.learn2learn_maml import Learn2LearnMAML
from mamlbench.algorithms.leo import LEO
from mamlbench.algorithms.maml import MAML
from mamlbench.algorithms.maml_noise import MAMLWithNoise
from mamlbench.algorithms.mamlpp import MAMLpp
from mamlbench.algorithms.meta_sgd import MetaSGD
from mamlbench.algorithms.multi_task import MultiTask
from mamlbench.algorithms.platipus import PLATIPUS
from mamlbench.algorithms.reptile import Reptile

__all__ = [
    "ANIL",
    "BMAML",
    "EMAML",
    "LEO",
    "MAML",
    "PLATIPUS",
    "Adapted",
    "ContextVector",
    "FreshSupport",
    "Joint",
    "Learn2LearnMAML",
    "MAMLWithNoise",
    "MAMLpp",
    "MetaLearner",
    "MetaSGD",
    "MultiTask",
    "NonFiniteError",
    "Reptile",
]
