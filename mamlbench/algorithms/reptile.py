"""Reptile (Nichol, Achiam and Schulman, 2018, arXiv 1803.02999)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.base import MetaLearner
from mamlbench.algorithms.captured_loop import CapturedLoop, Learned
from mamlbench.algorithms.counting import Counting
from mamlbench.algorithms.inner_adam import Moments, average
from mamlbench.algorithms.minibatches import Batches, batches_of, with_last
from mamlbench.errors import BadValue, one_of, require
from mamlbench.hardware.distributed import Ranks
from mamlbench.networks.base import Params
from mamlbench.objectives import Objective
from mamlbench.replay.replay import ReplayedInnerGradient, add_gradient
from mamlbench.rl.objective import PolicyGradient
from mamlbench.tasks import TaskBatch

TAILS = ("none", "shared", "separate")
MOMENTS = ("serial", "shared", "fresh")


class Reptile(Counting, MetaLearner):
    """Algorithms 1 and 2: train on each task for some steps, then move towards the mean result.

    The outer optimiser takes θ − mean φ as its gradient; `outer_lr` is the paper's ε.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        inner_optimizer: `sgd`, or `adam` with β1 = 0, β2 = 0.999 and TensorFlow's ε of 1e-8.
        inner_batch: examples in an inner mini-batch at meta-training (None: the whole support set).
        test_batch: the same at meta-test. For policies, `inner_batch`, `test_batch` and
            `replacement` have no effect: each inner step learns from all gathered episodes.
        test_lr: step size of the inner loop at meta-test (None: `inner_lr`).
        replacement: draw each mini-batch from the whole support set, instead of cycling through the
            shuffled set.
        moments: Adam's second moments at the start of a task: `serial`, those at the end of the
            previous task (the authors' code; tasks are trained one after another); `shared`, the
            mean of those at the end of the last batch (tasks are trained at once); `fresh`, zero.
        tail: `none`; or first-order MAML in Reptile's terms, where only the last inner step counts:
            `shared`, on the next mini-batch; `separate`, on the query set.
        step_weights: weight of each inner step's change in the outer update (None: 1 each);
            Figure 3 compares sums of the first gradients.
        options: the arguments of `MetaLearner`.

    Raises:
        BadValue: an argument outside of its range, or weights that do not fit the inner steps.
    """

    count_name = "moment_steps"
    scores_tasks = False

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        inner_optimizer: str = "adam",
        inner_batch: int | None = 10,
        test_batch: int | None = None,
        test_lr: float | None = None,
        replacement: bool = False,
        moments: str = "shared",
        tail: str = "none",
        step_weights: tuple[float, ...] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        one_of("inner_optimizer", inner_optimizer, ("adam", "sgd"))
        one_of("moments", moments, MOMENTS)
        one_of("tail", tail, TAILS)
        for option, size in (("inner_batch", inner_batch), ("test_batch", test_batch)):
            require(size is None or size >= 1, option, size, "1 or more, or null")
        require(test_lr is None or test_lr > 0, "test_lr", test_lr, "a number above 0, or null")
        require(self.inner_steps >= 1, "inner_steps", self.inner_steps, "1 or more")
        if step_weights is not None:
            fits = len(step_weights) == self.inner_steps and tail == "none"
            accepted = f"{self.inner_steps} numbers, one per inner step, with tail=none"
            require(fits, "step_weights", list(step_weights), accepted)
        self.adam, self.tail = inner_optimizer == "adam", tail
        self.needs_queries = tail == "separate"
        self.moments = moments if self.adam else "fresh"
        self.inner_batch, self.test_batch, self.replacement = inner_batch, test_batch, replacement
        self.test_lr = self.inner_lr if test_lr is None else test_lr
        last_only = (0.0,) * (self.inner_steps - 1) + (1.0,)
        self.step_weights = step_weights if tail == "none" else last_only
        own = dict(network.named_parameters())
        self._moment_names = {name: f"moment_{i}" for i, name in enumerate(self.adapted_names)}
        for name, buffer in self._moment_names.items():
            self.register_buffer(buffer, torch.zeros_like(own[name], requires_grad=False))
        self.moment_steps = 0
        self._replayed: ReplayedInnerGradient | None = None
        self._captured: CapturedLoop | None = None

    @override
    def replay(self, compiled: bool = False) -> bool:
        """Replay inner gradients, or on a GPU whole inner loops; they cannot be compiled."""
        acting = isinstance(self.objective, PolicyGradient)
        able = type(self) is Reptile and not (acting or compiled)
        self._replayed = ReplayedInnerGradient(self) if able else None
        on_gpu = able and next(self.network.parameters()).is_cuda
        self._captured = CapturedLoop(self._changes, self.inner_steps) if on_gpu else None
        return able

    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """Inner optimisation on mini-batches of the support set; first order, no graph."""
        steps = self.inner_steps if steps is None else steps
        learning, testing = (self.inner_batch, self.inner_lr), (self.test_batch, self.test_lr)
        size, rate = learning if self.training else testing
        batches = batches_of(support, size, steps, self.replacement)
        params, _, _ = self._optimise(batches, len(support), steps, self._moments(), rate)
        return self.adapted(params, support)

    def meta_gradient(self, tasks: TaskBatch) -> dict[str, Tensor]:
        """Store θ − mean φ (weighted by `step_weights`) in `.grad`; return the inner losses [T]."""
        self.optimizer.zero_grad()
        moments, ends, losses = self._moments(), [], []
        for part in self._chunks(tasks):
            end, loss = self._add_changes(part, moments, len(tasks))
            losses.append(loss)
            if self.moments != "fresh":
                ends.append((len(part) / len(tasks), end))
            if self.moments == "serial":
                moments, ends = end, [(1.0, end)]
        self._pending = average(ends) if ends else moments
        return {"loss": torch.cat(losses)}

    def meta_step(self, tasks: TaskBatch) -> dict[str, Tensor]:
        """See `MetaLearner.meta_step`; also updates Adam's moments."""
        metrics = super().meta_step(tasks)
        if self.moments != "fresh":
            for name, buffer in self._moment_names.items():
                getattr(self, buffer).copy_(self._pending.second[name])
            self.moment_steps = int(self._pending.steps)
        return metrics

    @override
    def share_with(self, ranks: Ranks) -> None:
        accepted = "shared or fresh if several processes share a batch of tasks"
        if ranks.size > 1 and self.moments == "serial":
            raise BadValue("moments", "serial", accepted, "algorithm")
        super().share_with(ranks)

    @override
    def task_means(self) -> list[Tensor]:
        return [] if self.moments == "fresh" else list(self._pending.second.values())

    def _chunks(self, tasks: TaskBatch) -> list[TaskBatch]:
        return list(tasks.chunks(1)) if self.moments == "serial" else super()._chunks(tasks)

    @torch.no_grad()
    def _add_changes(self, part: TaskBatch, moments: Moments, total: int) -> tuple[Moments, Tensor]:
        """Add these tasks' share to `.grad`; return the final moments and the losses [T]."""
        batches = batches_of(part.support, self.inner_batch, self.inner_steps, self.replacement)
        if self.tail == "separate":
            batches = with_last(batches, self.inner_steps, part.query)
        changes_of = self._captured or self._changes
        changes, end, losses = changes_of(batches, len(part), moments, total)
        own = dict(self.network.named_parameters())
        for name, change in changes.items():
            add_gradient(own[name], change)
        return end, losses

    def _changes(self, batches: Batches, tasks: int, moments: Moments, total: int) -> Learned:
        """The tasks' share of the mean change by name, the final moments, and the losses [T]."""
        path, end, losses = self._optimise(batches, tasks, self.inner_steps, moments, self.inner_lr)
        names = self.adapted_names
        if self.step_weights is None:
            moved = {n: path[0][n] - path[-1][n] for n in names}
        else:
            each = list(zip(self.step_weights, path[:-1], path[1:], strict=True))
            moved = {n: torch.stack([w * (p[n] - q[n]) for w, p, q in each]).sum(0) for n in names}
        changes = {name: by_task.sum(0) / total for name, by_task in moved.items()}
        return changes, end.mean() if self.moments != "fresh" else Moments({}, 0), losses

    def _optimise(
        self, batches: Batches, tasks: int, steps: int, moments: Moments, rate: float
    ) -> tuple[list[Params], Moments, Tensor]:
        """Parameters after each step, the final moments, and the mean loss [T]."""
        # batches have the same shapes throughout meta-training, but may vary at meta-test
        replayed = self._replayed if self.training else None
        inner_gradient = replayed or partial(self.inner_gradient, create_graph=False)
        with torch.no_grad():
            params, losses = [self.initial(tasks)], []
            for step in range(steps):
                gradient, loss = inner_gradient(params[-1], batches(step, params[-1]))
                if self.adam:
                    moved, moments = moments.step(params[-1], gradient, rate)
                else:
                    moved = {n: params[-1][n] - rate * g for n, g in gradient.items()}
                params.append(params[-1] | moved)
                losses.append(loss.detach())
        mean_loss = torch.stack(losses).mean(0) if losses else torch.zeros(tasks)
        return params, moments, mean_loss

    def _moments(self) -> Moments:
        second = {name: getattr(self, buffer) for name, buffer in self._moment_names.items()}
        return Moments(second, self.moment_steps)
