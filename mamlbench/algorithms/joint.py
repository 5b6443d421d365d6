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

    MAML's paper calls this baseline pretraining (arXiv 1703.03400, section 5.1); it equals Reptile
    with one inner step (arXiv 1803.02999, section 3). At meta-test it adapts as MAML does. A policy
    learns to be best on average over goals that it cannot observe.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        options: the arguments of `MetaLearner`.
    """

    replayable = True
    needs_queries = False  # it also learns from support sets

    @override
    def adapt_to_learn(self, support: Support) -> Adapted:
        """Do not adapt: policies are evaluated as they are."""
        return self.adapt(support, 0)

    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the shared parameters on support and query examples together.

        A policy acts only once, for the query set.
        """
        acted = not isinstance(tasks.support, Examples)
        examples = tasks.query if acted else tasks.support.together(tasks.query)
        outputs = forward(self.network, self.initial(len(tasks)), examples.x, Rows())
        with torch.no_grad():
            metrics = self.objective.metrics(outputs.unsqueeze(1), examples.y)
        return self.objective.loss(outputs, examples.y), metrics
