"""Joint training: one network for all tasks at once, fine-tuned at meta-test."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.maml import MAML
from mamlbench.networks.base import forward
from mamlbench.networks.layers import Rows
from mamlbench.tasks import Examples, TaskBatch


class Joint(MAML):
    """Minimise the expected loss over tasks, without adaptation.

    The baseline that MAML's paper calls pretraining (arXiv 1703.03400, section 5.1), and what
    Reptile is with one inner step (arXiv 1803.02999, section 3). It adapts as MAML does. A policy
    is the one that is best on average, in an environment whose goal changes unseen.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        options: the arguments of `MetaLearner`.
    """

    replayable = True
    needs_queries = False  # it learns from support sets as well

    @override
    def adapt_to_learn(self, support: Support) -> Adapted:
        """Not at all: policies are judged as they are."""
        return self.adapt(support, 0)

    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the shared parameters on support and query examples together.

        A policy acts once, on the query side.
        """
        acted = not isinstance(tasks.support, Examples)
        examples = tasks.query if acted else tasks.support.together(tasks.query)
        outputs = forward(self.network, self.initial(len(tasks)), examples.x, Rows())
        with torch.no_grad():
            metrics = self.objective.metrics(outputs.unsqueeze(1), examples.y)
        return self.objective.loss(outputs, examples.y), metrics
