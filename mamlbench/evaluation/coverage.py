"""How many interpretations of an ambiguous task a set of sampled classifiers finds."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mamlbench.tasks import TaskBatch

POSSIBLE = "possible"
"""Key in `TaskBatch.info` of ambiguous tasks: [T, M], to which possible task a query belongs."""


def coverage(outputs: Tensor, tasks: TaskBatch) -> dict[str, Tensor]:
    """Metrics of ambiguous tasks (arXiv 1806.02817, CelebA); empty if tasks are not ambiguous.

    The support set of an ambiguous task fits K possible tasks, and each query belongs to one of
    them. Each of the P classifiers is assigned to the possible task whose query labels it finds
    likeliest, by mean log-probability; in a tie, to the first.

    The paper's estimator and number of samples are not established; this is our reading of its
    table's columns. Without sampling (P = 1) coverage is 1.

    Args:
        outputs: logits [T, P, M, C] for the queries.
        tasks: with `info["possible"]`.

    Returns:
        Values [T]: `coverage`, the number of possible tasks with an assigned classifier, from 1 to
        K; `assigned_accuracy`, each classifier's accuracy on its assigned task, averaged over P;
        `average_nll`, in nats, of the mixture of the P classifiers on the queries of each possible
        task, averaged over K.
    """
    if tasks.info is None or POSSIBLE not in tasks.info:
        return {}
    particles, y = outputs.shape[1], tasks.query.y.unsqueeze(1)
    possible = torch.from_numpy(tasks.info[POSSIBLE]).to(outputs.device)
    member = F.one_hot(possible).to(outputs.dtype)
    share = (member / member.sum(dim=1, keepdim=True)).unsqueeze(1)  # [T, 1, M, K]

    def by_task(values: Tensor) -> Tensor:
        """Means over the queries of each possible task: [T, P, M] to [T, P, K]."""
        return (values.unsqueeze(2) @ share).squeeze(2)

    labels = y.expand(-1, particles, -1)
    log_likelihood = F.log_softmax(outputs, dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    correct = (outputs.argmax(dim=-1) == labels).to(outputs.dtype)
    mixture = log_likelihood.logsumexp(dim=1, keepdim=True) - math.log(particles)
    assigned = by_task(log_likelihood).argmax(dim=-1, keepdim=True)  # [T, P, 1]
    hit = torch.zeros_like(by_task(mixture)).squeeze(1).scatter(1, assigned.squeeze(-1), 1.0)
    return {
        "coverage": hit.sum(dim=-1),
        "assigned_accuracy": by_task(correct).gather(-1, assigned).mean(dim=(1, 2)),
        "average_nll": -by_task(mixture).mean(dim=(1, 2)),
    }
