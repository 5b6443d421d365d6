"""Base class of every algorithm: how a learner adapts to tasks, and its outer step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.finite import Finite, can_be_guarded
from mamlbench.algorithms.outer import (
    OPTIMIZERS,
    StartedWhenBuilt,
    lay_out_gradients,
    per_task,
    require_schedule,
    started,
)
from mamlbench.errors import BadValue, one_of, require
from mamlbench.hardware.distributed import ALONE, Ranks
from mamlbench.networks.base import (
    Params,
    TaskNetwork,
    forward,
    gradients,
    norm_parameter_names,
    trainable_names,
)
from mamlbench.networks.layers import Rows
from mamlbench.objectives import Objective
from mamlbench.replay.replay import ReplayedGradient
from mamlbench.rl.gathering import gathered, trials
from mamlbench.rl.objective import PolicyGradient
from mamlbench.rl.trust_region import TrustRegion
from mamlbench.tasks import Examples, TaskBatch


class MetaLearner(nn.Module, metaclass=StartedWhenBuilt):
    """A network, how it adapts to tasks, and how its meta-parameters are trained.

    A subclass implements `adapt` and `meta_loss` (or, if the outer update is not the gradient of a
    loss, `meta_gradient` or `chunk_gradient`). It sees tensors only: no config, no files, no device
    moves. State that lasts from one outer step to the next must be a parameter, a buffer, or part
    of `get_extra_state`: a checkpoint saves nothing else.

    Args:
        network: a `TaskNetwork`, or any module that maps [M, ...] to [M, C].
        objective: loss and metrics.
        inner_lr: step size of the inner loop, for losses that are means over examples.
        inner_steps: S at meta-training, and the default of `adapt`.
        outer_lr: step size of the outer loop; for `trpo` the bound on the mean KL divergence.
        outer_optimizer: `adam`, `sgd` or, for policies, `trpo`.
        outer_schedule: `constant`; or `linear`, `cosine` or `exponential` from `outer_lr` to
            `outer_lr_final`.
        outer_lr_final: step size at the end of the schedule.
        iterations: outer steps over which the schedule runs; `constant` needs none.
        adapt_norm: adapt the scale and shift of normalisation layers in the inner loop too.
        clip: clip each element of the meta-gradient to [-clip, clip].
        task_chunk: tasks to process at a time (None: the whole batch).

    Attributes:
        learned: the meta-parameters.
        checkpoint_inner_steps: keep only the parameters after each inner step, and recompute its
            activations for the meta-gradient: less memory, more time.
        epoch_length: outer steps between changes of the outer step size.
        particles: P of what `adapt` returns; evaluation bounds its memory by it.
        replayable: whether `meta_loss` depends only on the tasks and the meta-parameters: no
            counters, no random numbers. Its steps can then be replayed (see `Replay`). Each class
            sets this for itself; a subclass does not inherit it.
        recomputable: whether `checkpoint_inner_steps` is supported.
        needs_queries: whether `meta_step` learns from query sets, which then must not be empty.
        scores_tasks: whether `meta_step` returns the tasks' metric, so that a checkpoint can be
            chosen by it (`evaluation.select=best_training`).
        takes_short_products: whether the network's layers compute all products, so that these may
            be in bfloat16.

    Raises:
        BadValue: an argument outside of its range.
    """

    replayable: ClassVar[bool] = False
    recomputable: bool = True
    needs_queries: bool = True
    scores_tasks: bool = True
    takes_short_products: bool = True
    epoch_length: int = 1
    particles: int = 1

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        inner_lr: float = 0.01,
        inner_steps: int = 1,
        outer_lr: float = 0.001,
        outer_optimizer: str = "adam",
        outer_schedule: str = "constant",
        outer_lr_final: float = 0.0,
        iterations: int | None = None,
        adapt_norm: bool = False,
        clip: float | None = None,
        task_chunk: int | None = None,
    ) -> None:
        super().__init__()
        require(inner_lr >= 0 and math.isfinite(inner_lr), "inner_lr", inner_lr, "0 or more")
        require(inner_steps >= 0, "inner_steps", inner_steps, "0 or more")
        require(outer_lr >= 0 and math.isfinite(outer_lr), "outer_lr", outer_lr, "0 or more")
        require(clip is None or clip > 0, "clip", clip, "more than 0, or null")
        one_of("outer_optimizer", outer_optimizer, OPTIMIZERS)
        require_schedule(outer_schedule, outer_lr_final, iterations)
        acting = isinstance(objective, PolicyGradient) or outer_optimizer != "trpo"
        require(acting, "outer_optimizer", "trpo", "adam or sgd: these tasks have no policy")
        self.network, self.objective = network, objective
        self.inner_lr, self.inner_steps = float(inner_lr), inner_steps
        self.clip, self.task_chunk = clip, task_chunk
        fixed = set() if adapt_norm else norm_parameter_names(network)
        self.adapted_names = [name for name in trainable_names(network) if name not in fixed]
        self.checkpoint_inner_steps = False
        norms = network.norms() if isinstance(network, TaskNetwork) else []
        self._recording = [layer for layer in norms if layer.norm == "running"]
        self.ranks = ALONE
        self.finite = Finite()
        self._replay: ReplayedGradient | None = None
        self._outer = (outer_optimizer, outer_lr, outer_lr_final, outer_schedule, iterations)

    def start_optimizer(self) -> None:
        """Create a fresh outer optimiser and schedule for all parameters that are not frozen."""
        self.learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self.optimizer, self.scheduler = started(self.learned, *self._outer, self.epoch_length)

    def replay(self, compiled: bool = False) -> bool:
        """Replay the meta-gradient from now on; return whether this learner can.

        It can if its class is `replayable` and no policy gathers the support sets.
        """
        if vars(type(self)).get("replayable") and not isinstance(self.objective, PolicyGradient):
            self._replay = ReplayedGradient(self._task_losses, self.learned, compiled)
        return self._replay is not None

    def share_with(self, ranks: Ranks) -> None:
        """Share each meta-batch with other processes from now on.

        Each passes the whole batch to `meta_step`; results are those of one process up to rounding.

        Raises:
            BadValue: this learner cannot share.
        """
        self.ranks = ranks

    # --- adapting -------------------------------------------------------------------------------

    @abstractmethod
    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """Adapt to T tasks at once; the learner itself does not change.

        Gradients flow through the result to the meta-parameters if the algorithm needs them and
        grad mode is on; under `torch.no_grad()` no graph is kept.

        Args:
            support: x [T, M, ...] and y, or a function that gathers them at each inner step.
            steps: S (None: `inner_steps`).
        """

    def check_steps(self, steps: int) -> None:
        """Check that `adapt` can take this many steps; most algorithms take any number.

        Raises:
            BadValue: it cannot.
        """

    def adapt_to_learn(self, support: Support) -> Adapted:
        """Adapt policies before an outer step gathers the query episodes that it learns from."""
        return self.adapt(support)

    @staticmethod
    def support_at(support: Support, step: int, params: Params) -> Examples:
        """The support set for inner step `step`: the fixed one, or one that is gathered now."""
        return support if isinstance(support, Examples) else support(step, params)

    @staticmethod
    def adapted(params: list[Params], support: Support, particles: int = 1) -> Adapted:
        """The return value of `adapt`, from the parameters after 0 to S steps."""
        return Adapted(params, support if isinstance(support, Examples) else None, particles)

    def initial(self, tasks: int) -> Params:
        """The parameters before the first inner step; adapted ones have T in front."""
        own = dict(self.network.named_parameters())
        adapted = {name: own[name].expand(tasks, *own[name].shape) for name in self.adapted_names}
        return own | adapted

    def inner_gradient(
        self, params: Params, batch: Examples, create_graph: bool
    ) -> tuple[Params, Tensor]:
        """Gradient of each task's loss with respect to its own parameters, and the losses [T].

        With `create_graph` the gradient can be differentiated again; otherwise it is a constant.
        """

        def losses(at: Params) -> Tensor:
            outputs = forward(self.network, at, batch.x, Rows())
            return self.objective.loss(outputs, batch.y)

        return gradients(losses, params, self.adapted_names, create_graph)

    def inner_step(self, function: Callable[[Params], Params], params: Params) -> Params:
        """`function(params)`; `checkpoint_inner_steps` decides whether its activations are kept."""
        if not (self.checkpoint_inner_steps and torch.is_grad_enabled()):
            return function(params)
        result: Params = checkpoint(function, params, use_reentrant=False)
        return result

    def predict(
        self, adapted: Adapted, x: Tensor, step: int = -1, transductive: bool = True
    ) -> Tensor:
        """Outputs [T, P, M, C] for x [T, M, ...] after `step` inner steps.

        With batch norm, `transductive` normalises all M examples as one batch; otherwise each is
        normalised with the whole support set and no other query (arXiv 1803.02999, section 6.1).
        """
        params, particles = adapted.params[step], adapted.particles
        x = for_particles(x, particles)
        given = None if adapted.support is None else for_particles(adapted.support.x, particles)
        norm = self.network.norm if isinstance(self.network, TaskNetwork) else "batch"
        if given is not None and norm == "support":
            outputs = self._predict_after(params, given, x)
        elif given is not None and norm == "batch" and not transductive:
            outputs = self._predict_alone(params, given, x)
        else:
            outputs = forward(self.network, params, x, Rows())
        return outputs.unflatten(0, (-1, particles))

    def _predict_after(self, params: Params, support: Tensor, x: Tensor) -> Tensor:
        given = support.shape[1]
        together = torch.cat([support, x], dim=1)
        return forward(self.network, params, together, Rows(reference=given))[:, given:]

    def _predict_alone(self, params: Params, support: Tensor, x: Tensor) -> Tensor:
        queries, size = x.shape[1], support.shape[1] + 1
        repeated = support.unsqueeze(1).expand(-1, queries, *support.shape[1:])
        batches = torch.cat([repeated, x.unsqueeze(2)], dim=2).flatten(1, 2)
        outputs = forward(self.network, params, batches, Rows(groups=queries))
        return outputs.unflatten(1, (queries, size))[:, :, -1]

    # --- learning to adapt ----------------------------------------------------------------------

    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses [T], whose mean is minimised, and metrics [T] to log; `loss` can be left out."""
        raise TypeError(f"{type(self).__name__} defines neither meta_loss nor meta_gradient")

    def meta_gradient(self, tasks: TaskBatch) -> dict[str, Tensor]:
        """Store the mean meta-gradient of the tasks in `.grad`; return metrics [T] with `loss`.

        At most `task_chunk` tasks are processed at a time, which bounds the memory and changes the
        result only by rounding.
        """
        self.optimizer.zero_grad()
        metrics = [self.chunk_gradient(part, len(tasks)) for part in self._chunks(tasks)]
        return {name: torch.cat([m[name] for m in metrics]) for name in metrics[0]}

    def chunk_gradient(self, tasks: TaskBatch, total: int) -> dict[str, Tensor]:
        """Add these tasks' share of the mean over `total` tasks to `.grad`; return metrics [T]."""
        if self._replay is not None:
            return self._replay(tasks, total)
        losses, metrics = self._task_losses(tasks)
        (losses.sum() / total).backward()
        return {name: values.detach() for name, values in metrics.items()}

    def _task_losses(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        return per_task(type(self), len(tasks), *self.meta_loss(tasks))

    def meta_step(self, tasks: TaskBatch) -> dict[str, Tensor]:
        """Make one outer update; return metrics [T] of the tasks.

        Raises:
            BadValue: there are no queries to learn from.
            NonFiniteError: losses or meta-gradient are not finite; nothing has changed yet. A
                replayed step on a GPU does not wait for this check: it leaves the parameters
                unchanged and records that in `finite`.
        """
        if self.needs_queries and isinstance(tasks.query, Examples) and not tasks.query.x.shape[1]:
            raise BadValue("queries", 0, "1 or more: training uses them", "dataset")
        share = self.ranks.share(len(tasks))
        own = gathered(self, share.of(tasks))
        metrics = self.meta_gradient(own)
        metrics = self.ranks.averaged(self.learned, self.task_means(), metrics, share)
        self._check_finite(metrics["loss"])
        lay_out_gradients(self.learned)
        self.clip_gradients()
        if isinstance(self.optimizer, TrustRegion):
            mean = partial(self.ranks.mean, share=share)
            self.optimizer.step(trials(self, self._chunks(own)), mean)
            told = zip(("step_length", "step_kl"), self.optimizer.taken, strict=True)
            metrics |= {name: torch.full_like(metrics["loss"], value) for name, value in told}
        else:
            self.optimizer.step()
        self.count_step()
        self._record_statistics(tasks)
        return metrics

    def count_step(self) -> None:
        """Advance all schedules by one outer step, also if that step was skipped."""
        self.scheduler.step()

    def task_means(self) -> list[Tensor]:
        """Means over tasks, from the last meta-gradient, that processes average beside `.grad`."""
        return []

    def clip_gradients(self) -> None:
        """Clip the meta-gradient as `clip` says, after the check that it is finite."""
        if self.clip is not None:
            nn.utils.clip_grad_value_(self.learned, self.clip)

    def _chunks(self, tasks: TaskBatch) -> list[TaskBatch]:
        parts = max(1, -(-len(tasks) // (self.task_chunk or len(tasks) or 1)))
        return list(tasks.chunks(max(1, -(-len(tasks) // parts))))

    def _check_finite(self, losses: Tensor) -> None:
        """Keep a step that is not finite from changing anything, on a GPU without waiting for it.

        Steps that are not replayed, and learners that keep running averages, are waited for.
        """
        values = [losses, *(p.grad for p in self.learned if p.grad is not None)]
        waited_for = self._replay is None or bool(self._recording)
        if losses.is_cuda and not waited_for and can_be_guarded(self.optimizer):
            self.finite.guard(values, self.optimizer)
        else:
            self.finite.require(values, losses)

    @torch.no_grad()
    def _record_statistics(self, tasks: TaskBatch) -> None:
        """Update running averages (`norm=running` only) by a pass with the meta-parameters."""
        for layer in self._recording:
            layer.recording = True
        if self._recording:
            self.network(torch.cat([tasks.support.x, tasks.query.x], dim=1), Rows())
        for layer in self._recording:
            layer.recording = False


def for_particles(values: Tensor, particles: int) -> Tensor:
    """Repeat values [T, ...] for each particle of a task, [T*P, ...]."""
    return values if particles == 1 else values.repeat_interleave(particles, 0)
