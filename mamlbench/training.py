"""Meta-training: outer steps, logging, validation, checkpoints, and exact resuming."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch

from mamlbench import __version__, checkpoint
from mamlbench.algorithms.base import MetaLearner
from mamlbench.algorithms.finite import NonFiniteError
from mamlbench.datasets.base import Dataset
from mamlbench.errors import UserError, require
from mamlbench.evaluation import Protocol, evaluate
from mamlbench.hardware.device import Hardware, told_of_full_memory
from mamlbench.hardware.distributed import ALONE, Ranks
from mamlbench.loggers import Logger
from mamlbench.run.begin_from import load_learner
from mamlbench.run.best_learners import BestLearners
from mamlbench.run.provenance import commit
from mamlbench.run.signals import Stopped, StopRequest
from mamlbench.running_means import RunningMeans
from mamlbench.tasks import TaskBatch


@dataclass(frozen=True)
class Training:
    """How long to train, and how often to log, validate and save; intervals are in outer steps.

    Attributes:
        iterations: number of outer steps.
        meta_batch_size: tasks per outer step.
        log_every: interval between rows of metrics.
        validate_every: interval between meta-validations (0: none).
        checkpoint_every: interval between checkpoints.
        patience: stop after this many meta-validations without improvement (None: never).

    Raises:
        BadValue: a value is out of range.
    """

    iterations: int
    meta_batch_size: int
    log_every: int = 100
    validate_every: int = 500
    checkpoint_every: int = 500
    patience: int | None = None

    def __post_init__(self) -> None:
        for option in ("meta_batch_size", "log_every", "checkpoint_every"):
            require(getattr(self, option) >= 1, option, getattr(self, option), "1 or more")
        require(self.iterations >= 0, "iterations", self.iterations, "0 or more")
        require(self.validate_every >= 0, "validate_every", self.validate_every, "0 or more")
        patience = self.patience
        require(patience is None or patience >= 1, "patience", patience, "1 or more, or null")
        validated = patience is None or self.validate_every > 0
        require(validated, "patience", patience, "null, because validate_every=0")


class Trainer:
    """One learner's meta-training in one folder.

    Args:
        learner: the learner to train, already on its device.
        dataset: the dataset, already loaded.
        training: how long to train, and the intervals.
        protocol: how to validate.
        hardware: device and precision.
        seed: seed of the meta-training tasks.
        on_nan: `stop`, or `skip` the outer step, when the meta-loss is not finite.
        folder: where to write `checkpoint.pt`, `checkpoint_before.pt`, `best.pt` and, if the
            protocol tests several of the best validated learners, `best_<iteration>.pt` for each.
        identity: additional entries of a checkpoint: the overrides, the run, the config's hash,
            and `data_sha256`, which must match when resuming.
        ranks: the processes that train together; only the first reads and writes the folder.
    """

    def __init__(
        self,
        learner: MetaLearner,
        dataset: Dataset,
        training: Training,
        protocol: Protocol,
        hardware: Hardware,
        seed: int,
        on_nan: str,
        folder: Path,
        identity: dict[str, Any],
        ranks: Ranks = ALONE,
    ) -> None:
        self.learner, self.dataset, self.training = learner, dataset, training
        self.protocol, self.hardware = protocol, hardware
        self.seed, self.on_nan, self.identity, self.ranks = seed, on_nan, identity, ranks
        self.path, self.path_before = folder / "checkpoint.pt", folder / "checkpoint_before.pt"
        self.iteration = 0
        """Outer steps done."""
        self.seconds = 0.0
        self.devices: dict[str, int] = {}
        self.commits: dict[str, int] = {}
        """Outer steps done by each commit; `devices` has those on each device. A run may resume on
        another device or with other code."""
        self._commit = commit() or f"version {__version__}"
        self.skipped = 0
        self.best = BestLearners(learner, folder, protocol.kept, identity, ranks)
        self._means = RunningMeans()
        self._logged_at = (0, 0.0)
        self._ahead: list[TaskBatch] = []
        """Tasks of the next iterations, already sampled, in reverse order."""

    # --- state ----------------------------------------------------------------------------------

    def resume(self) -> bool:
        """Load the folder's newest intact checkpoint, if any; return whether there was one.

        Raises:
            UserError: no checkpoint is intact, or it does not fit this learner or these data.
        """
        newest = partial(checkpoint.load_newest, self.path, self.path_before)
        state = self.ranks.from_first(newest)
        if state is None:
            return False
        if not {"optimizer", "devices", "kept"} <= state.keys():
            raise UserError(
                f"{self.path}: is not the whole state of a run; restart=true starts over"
            )
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self.devices = state["devices"]
        self.commits = state.get("commits", {"not recorded": self.iteration})
        self.skipped = state["skipped"]
        self.best.restore(state)
        self._means.sums, self._means.steps = state["sums"], state["summed"]
        load_learner(self.learner, state, self.path)
        if state["data_sha256"] != self.identity["data_sha256"]:
            found = self.identity["data_sha256"]
            raise UserError(
                f"{self.path}: was trained on other data (sha256 {state['data_sha256']}, "
                f"now {found}); restart=true starts over"
            )
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self.learner.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["generator"])
        if self.hardware.torch_device.type == "cuda" and "gpu_generator" in state:
            torch.cuda.set_rng_state(state["gpu_generator"], self.hardware.torch_device)
        return True

    def save(self) -> None:
        """Write the full state; the previous checkpoint is kept as `checkpoint_before.pt`."""
        if not self.ranks.is_first:
            return
        state = {
            "learner": self.learner.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "scheduler": self.learner.scheduler.state_dict(),
            "generator": torch.get_rng_state(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "devices": self.devices,
            "commits": self.commits,
            "skipped": self.skipped,
            **self.best.state(),
            "sums": self._means.sums,
            "summed": int(self._means.steps),
            **self.identity,
        }
        if self.hardware.torch_device.type == "cuda":
            state["gpu_generator"] = torch.cuda.get_rng_state(self.hardware.torch_device)
        checkpoint.save(self.path, state, self.path_before)
        self.best.remove_surpassed()

    @property
    def device(self) -> str:
        """The device in words, with the number of processes if there are several."""
        name, count = self.hardware.name, self.ranks.size
        return f"{count} x {name}" if count > 1 else name

    # --- training -------------------------------------------------------------------------------

    def run(self, logger: Logger) -> None:
        """Train to the end, or until `patience` runs out.

        Raises:
            Stopped: a signal asked the run to stop.
            UserError: the meta-loss is not finite, or the disk refused a file.
        """
        training = self.training
        self._logged_at = (self.iteration, time.monotonic())
        self.learner.train()
        with StopRequest() as request:
            while self.iteration < training.iterations and not self._out_of_patience():
                began = time.monotonic()
                # not saved here: running out of memory can leave an update half done
                with told_of_full_memory("or hardware.checkpoint_inner_steps=true"):
                    self._step(request)
                row = self._row()
                if row:
                    # all processes end if the disk is full or a search prunes the run
                    self.ranks.from_first(partial(logger.log, self.iteration, row))
                is_due = self.iteration % training.checkpoint_every == 0
                if is_due:
                    self._settle()  # waits for a GPU, so that `seconds` is right
                self.seconds += time.monotonic() - began
                if is_due:
                    self.save()
                logger.progress(self.iteration)
                received = self.ranks.most(request.received or 0)
                if received:
                    self._settle()
                    self.save()
                    raise Stopped(received, self.iteration)
        self._settle()  # if patience ended training, the last steps are not checked yet
        self.save()

    def _next_tasks(self) -> TaskBatch:
        """The tasks of this iteration; several batches are sampled at once if memory allows."""
        if not self._ahead:
            size = self.training.meta_batch_size
            rows = self.dataset.ways * (self.dataset.train_shots + self.dataset.queries)
            values = size * max(1, rows) * math.prod(self.dataset.input_shape)
            count = size * self.hardware.batches_at_once(values)
            sampled = self.dataset.sample("train", self.seed, self.iteration * size, count)
            self._ahead = list(self.hardware.cast(sampled).chunks(size))[::-1]
        return self._ahead.pop()

    def _step(self, request: StopRequest) -> None:
        try:
            metrics = self.learner.meta_step(self._next_tasks())
        except NonFiniteError as error:
            self._not_finite(error)
            metrics = {}
        except UserError:
            if self.iteration:
                self.save()  # for example after a worker died: the state before this step is sound
                if request.received:  # SLURM sends the same signal to the workers
                    raise Stopped(request.received, self.iteration) from None
            raise
        self.iteration += 1
        self.devices[self.device] = self.devices.get(self.device, 0) + 1
        self.commits[self._commit] = self.commits.get(self._commit, 0) + 1
        if metrics and self.protocol.by_training:
            value = float(metrics[self.learner.objective.metric].mean())
            self.best.consider(value, self.iteration)
        self._means.add(metrics, self.learner.finite.last if metrics else 0)

    def _not_finite(self, error: NonFiniteError) -> None:
        self._require_finite_parameters(self.iteration + 1, str(error))
        if self.on_nan == "skip":
            self.skipped += 1
            with warnings.catch_warnings():
                # torch warns if the very first step is skipped
                warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
                self.learner.count_step()
            return
        good = error.losses[torch.isfinite(error.losses)]
        finite = (
            f", finite losses: mean {good.mean():.4g}, max {good.max():.4g}" if len(good) else ""
        )
        what = f"{error}{finite}; the last good state, of iteration {self.iteration},"
        self._stop_at(self.iteration + 1, what)

    def _settle(self) -> None:
        """Count the steps that a GPU left out because they were not finite, or stop."""
        self.skipped += (refused := self.learner.finite.count_refused())
        if not refused:
            return
        steps = f"{refused} of the steps since the last row of metrics were not finite"
        self._require_finite_parameters(self.iteration, steps)
        if self.on_nan == "stop":
            what = f"{steps} and changed nothing; the state without them"
            self._stop_at(self.iteration, what)

    def _require_finite_parameters(self, iteration: int, what: str) -> None:
        """Raise `UserError` if a parameter is not finite; such parameters are never saved."""
        if not all(bool(torch.isfinite(p).all()) for p in self.learner.parameters()):
            why = "neither are the parameters since an earlier step"
            smaller = "accepted is a smaller algorithm.outer_lr"
            raise UserError(f"iteration {iteration}: {what}, and {why}; {smaller}")

    def _stop_at(self, iteration: int, what: str) -> NoReturn:
        self.save()
        where = f"is in {self.path}; on_nan=skip goes on without such steps"
        raise UserError(f"iteration {iteration}: {what} {where}")

    def _row(self) -> dict[str, float]:
        """The metrics to log at this iteration: training means, validation, both, or none."""
        training = self.training
        row: dict[str, float] = {}
        last = self.iteration == training.iterations
        if self.iteration % training.log_every == 0 or last:
            self._settle()
            row |= {f"train/{name}": mean for name, mean in self._means.take().items()}
            since, at = self._logged_at
            elapsed = max(time.monotonic() - at, 1e-9)
            rate = (self.iteration - since) * training.meta_batch_size / elapsed
            row["tasks_per_second"] = rate
            if self.skipped:
                row["train/skipped"] = float(self.skipped)
            self._logged_at = (self.iteration, time.monotonic())
        every = training.validate_every
        if every and (self.iteration % every == 0 or last) and "val" in self.dataset.splits:
            row |= self._validate()
        return row

    def _validate(self) -> dict[str, float]:
        scores = evaluate(
            self.learner,
            self.dataset,
            "val",
            self.protocol,
            self.hardware,
            tasks=self.protocol.validation_tasks,
            every_step=False,
            in_full=False,
            ranks=self.ranks,
        ).last()
        value = scores[self.learner.objective.metric].mean
        self.best.stale += 1
        if not self.protocol.by_training:
            self.best.consider(value, self.iteration)
        if self.protocol.kept > 1:
            self.best.rank(value, self.iteration)
        row = {f"val/{name}": estimate.mean for name, estimate in scores.items()}
        return row | {f"val/{name}_ci95": estimate.ci95 for name, estimate in scores.items()}

    def _out_of_patience(self) -> bool:
        patience = self.training.patience
        return patience is not None and self.best.stale >= patience
