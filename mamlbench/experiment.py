"""One run from start to end: build, meta-train, choose a checkpoint, meta-test, write results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mamlbench import checkpoint
from mamlbench.algorithms.base import MetaLearner
from mamlbench.config.budget import within_budget
from mamlbench.config.build import build, construct
from mamlbench.config.options import Options, require_known
from mamlbench.config.overrides import command_line
from mamlbench.datasets.base import Dataset
from mamlbench.datasets.checks import check_tasks
from mamlbench.errors import BadValue, UserError, require
from mamlbench.evaluation import (
    Ensemble,
    Protocol,
    Scores,
    active_learning,
    active_sizes,
    evaluate,
)
from mamlbench.files import at_home, write_atomically
from mamlbench.hardware.device import Hardware
from mamlbench.hardware.distributed import ALONE, Ranks
from mamlbench.loggers import ConsoleProgress, Loggers, RunInfo
from mamlbench.networks import require_outputs
from mamlbench.run.begin_from import load_learner, warm_start
from mamlbench.run.folder import RunFolder
from mamlbench.run.kept_scores import KeptScores
from mamlbench.run.name import RunName
from mamlbench.run.provenance import code_files
from mamlbench.run.result_hash import result_hash
from mamlbench.run.signals import StopRequest
from mamlbench.run.status import recorded
from mamlbench.run.summary import summary_of
from mamlbench.run.tested import about_training, tested_checkpoints, trained_in
from mamlbench.slurm.options import of_the_run
from mamlbench.slurm.this_job import job_id, restarts
from mamlbench.training import Trainer, Training


class Experiment:
    """One run of a composed config, built and checked.

    Before `run`, no dataset is loaded and nothing is written; checkpoints in the config are read.

    Args:
        config: the composed config.
        algorithm: name of the algorithm's config, for the run's folder.
        dataset: name of the dataset's config, for the run's folder.
        overrides: the command line's overrides, from which the run can be composed again.
        ranks: the processes that share the run; only the first writes files and logs.
        searchpath: additional config folders, for the command in the result.

    Raises:
        UserError: something in the config cannot work.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        algorithm: str,
        dataset: str,
        overrides: list[str],
        ranks: Ranks = ALONE,
        searchpath: Sequence[str] = (),
    ) -> None:
        require_known(config, algorithm)
        self.config, self.shortened = within_budget(config)
        self.ranks = ranks
        top = {name: self.config.get(name) for name in Options.__annotations__}
        self.options = construct(Options, top, "")
        self.hardware = construct(Hardware, of_the_run(self.config["hardware"]), "hardware")
        self.training = construct(Training, self.config["training"], "training")
        self.protocol = construct(Protocol, self.config["evaluation"], "evaluation")
        self.dataset: Dataset = build(self.config["dataset"], "dataset")
        per_task = sum(self._sides) * math.prod(self.dataset.input_shape)
        self.hardware.apply(self.training.meta_batch_size * per_task)
        self.learner = self._build_learner()
        self._check_protocol()
        # the console starts last, so that its time estimate excludes the other loggers' start-up
        loggers = [*self._build_loggers(), ConsoleProgress()]
        self.loggers = Loggers(loggers if ranks.is_first else [])
        if self.options.warm_start is not None:
            self._warm_start(self.options.warm_start)
        self.tested_checkpoints = tested_checkpoints(self.config)
        for path in self.tested_checkpoints:  # fail now, before `run` creates a folder
            load_learner(self.learner, checkpoint.load(path), path)
        self.trained_in: dict[str, Any] | None = None
        """What a tested checkpoint records about its training run; None for older checkpoints."""
        self.overrides, hash_ = overrides, result_hash(self.config)
        self.command = command_line(overrides, searchpath)
        names = algorithm, dataset, self.dataset.setting
        self.name = RunName(*names, hash_, self.options.seed)
        self.folder = RunFolder.of(self.config, self.name)

    # --- building -------------------------------------------------------------------------------

    def _build_learner(self) -> MetaLearner:
        torch.manual_seed(self.options.seed)
        shape = {"input_shape": self.dataset.input_shape, "outputs": self.dataset.outputs}
        network: nn.Module = build(self.config["network"], "network", **shape)
        require_outputs(network, self.dataset.input_shape, self.dataset.outputs)
        learner: MetaLearner = build(
            self.config["algorithm"], "algorithm", network=network, objective=self.dataset.objective
        )
        self.hardware.prepare(learner, *self._sides, self.dataset.input_shape)
        learner.share_with(self.ranks)
        return learner

    @property
    def _sides(self) -> tuple[int, int]:
        """Support and query rows that the network sees in one meta-training task."""
        data = self.dataset
        each = data.ways * data.examples_per_shot
        return each * data.train_shots, each * data.queries

    def _check_protocol(self) -> None:
        try:
            self.protocol.require_for(self.dataset)
            scored = self.learner.scores_tasks or not self.protocol.by_training
            accepted = f"best or last: {type(self.learner).__name__} does not score training tasks"
            require(scored, "select", self.protocol.select, accepted)
            if self.protocol.inner_steps is not None:
                self.learner.check_steps(self.protocol.inner_steps)
        except BadValue as error:
            raise error.under("evaluation") from error

    def _warm_start(self, place: str) -> None:
        path = checkpoint.resolve(Path(place), "warm_start")
        state = checkpoint.load(path, "warm_start")
        warm_start(self.learner, state, path)

    def _build_loggers(self) -> list[Any]:
        nodes = dict(self.config.get("logger") or {})
        csv = nodes.pop("csv", {"_target_": "mamlbench.loggers.CSVLogger"})
        return [build(n, f"logger.{k}") for k, n in {"csv": csv, **nodes}.items()]

    # --- running --------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Do the rest of the run and return its summary; a finished run's summary is read.

        Raises:
            UserError: data are missing, the disk refuses a file, or a loss is not finite.
            Busy: another process is working on this run.
            Stopped: a signal asked the run to stop; the same command resumes it.
        """
        try:
            with ExitStack() as held:
                finished = self.ranks.from_first(partial(self._open, held))
                return self._run() if finished is None else finished
        except UserError:
            if self.ranks.is_first:
                self.folder.remove_if_empty(at_home(self.options.outputs))
            raise

    @property
    def _begins_anew(self) -> bool:
        """Whether to delete an earlier run's files; a requeued job with `restart=true` resumes."""
        if not self.options.restart:
            return False
        return restarts() == 0 or not self.folder.was_begun_anew_by(job_id())

    @property
    def is_finished(self) -> bool:
        """Whether the run is finished and only its result is left to show."""
        return self.folder.summary.is_file() and not self._begins_anew

    def _open(self, held: ExitStack) -> dict[str, Any] | None:
        """Lock the folder until `held` closes; return the summary if the run is finished."""
        if not self.is_finished:
            held.enter_context(self.folder.owned())
            held.enter_context(recorded(self.folder.path))
        # check again: another process may have finished the run before this one got the lock
        return self.folder.read_result(self.dataset.content) if self.is_finished else None

    def _load(self) -> None:
        self.dataset.load(self.hardware.torch_device)
        self._sample_once()

    def _require_same_data(self) -> None:
        """Check that all processes have the same data; each machine may have its own copy."""
        found = dict.fromkeys(self.ranks.gathered([self.dataset.sha256]))
        if len(found) > 1:
            hashes = ", ".join(str(sha256)[:12] for sha256 in found)
            where = f"dataset: processes of this run have different data (sha256 {hashes})"
            raise UserError(f"{where}; accepted is the same for all of them")

    def _run(self) -> dict[str, Any]:
        self.ranks.together(self._load)
        self._require_same_data()
        if self.ranks.is_first and self._begins_anew:
            self.folder.clear()
        trainer = Trainer(
            self.learner,
            self.dataset,
            self.training,
            self.protocol,
            self.hardware,
            self.options.seed,
            self.options.on_nan,
            self.folder.path,
            {
                "overrides": self.overrides,
                "hash": self.name.hash,
                "data_sha256": self.dataset.sha256,
                "run": about_training(self.name, self.config),
            },
            self.ranks,
        )
        trainer.resume()
        if self.ranks.is_first:
            job = job_id() if self.options.restart else None
            parts = self.learner, self.learner.network, self.dataset, self.dataset.objective
            code = code_files(*parts, modules=self.dataset.modules)
            goes_on = trainer.iteration > 0
            self.folder.write_config(self.config, self.command, code, goes_on, job)
        with self.loggers:
            self.loggers.start(self._run_info(trainer))
            try:
                summary = self._train_and_test(trainer)
            except BaseException:
                self.ranks.ending()
                self.loggers.finish(None)
                raise
            self.loggers.finish(summary)
        if not self.ranks.is_first:
            return summary
        with_ = self.learner, self.dataset, self.protocol, self.hardware
        try:
            from mamlbench.figures.of_run import (
                draw_figures,  # imports matplotlib, which only this needs
            )

            draw_figures(self.folder, *with_, summary)
        except Exception:  # the result is complete without figures
            self.folder.finish(summary)
            raise
        self.folder.finish(summary)
        return summary

    def _sample_once(self) -> None:
        """Sample tasks of each split now, so that mistakes show before training."""
        data = self.dataset
        if self.training.iterations > 0 and not self.tested_checkpoints:
            patience, accepted = self.training.patience, "null: this dataset has no val split"
            if patience is not None and "val" not in data.splits:
                raise BadValue("patience", patience, accepted, "training")
            try:
                check_tasks(data, "train", data.train_shots, data.queries)
            except BadValue as error:
                raise error.under("dataset") from error
        for split in [s for s in ("val", "test") if s in data.splits]:
            try:
                check_tasks(data, split, *self.protocol.shots_and_queries(data, split))
                if split == "test" and self.protocol.active_rounds:
                    active_sizes(data, self.protocol)
            except BadValue as error:
                raise error.under("evaluation") from error

    def _train_and_test(self, trainer: Trainer) -> dict[str, Any]:
        chosen = self.tested_checkpoints
        if not chosen:
            trainer.run(self.loggers)
            chosen = self._chosen(trainer)
        members, iterations = self._members(len(chosen)), [trainer.iteration]
        for learner, path in zip(members, chosen, strict=True):
            state = self.ranks.from_first(partial(checkpoint.load, path))
            load_learner(learner, state, path)
            iterations.append(state.get("iteration", 0))
            self.trained_in = trained_in(state, self.config)
        if len(members) > 1:
            self.learner = Ensemble(members)
        scores = self._test(trainer.iteration)
        summary = summary_of(self, scores, trainer, chosen, max(iterations))
        if not self.ranks.is_first:
            return summary
        write_atomically(self.folder.path / "test_tasks.csv", scores.rows().to_csv(index=False))
        return summary | self._learn_actively()

    def _test(self, iteration: int) -> Scores:
        """Score all test tasks, continuing an interrupted test."""
        with_ = self.learner, self.dataset, "test", self.protocol, self.hardware
        request = StopRequest()
        # several processes would have to stop at the same task, so they only save their scores
        with request if self.ranks.size == 1 else nullcontext():
            path = self.folder.scores_so_far(self.ranks.rank)
            tested_by = f"{self.protocol} {self.dataset.sha256}"
            kept = KeptScores(path, (self.learner, tested_by), request, iteration)
            return evaluate(*with_, ranks=self.ranks, tell=self.loggers.tested, kept=kept)

    def _learn_actively(self) -> dict[str, Any]:
        """Write `active_learning.csv`; return what active learning adds to the summary."""
        if not self.protocol.active_rounds:
            return {}
        found = active_learning(self.learner, self.dataset, self.protocol, self.hardware)
        path = self.folder.path / "active_learning.csv"
        write_atomically(path, found.rows().to_csv(index=False))
        return {"active_learning": found.summary()}

    def _chosen(self, trainer: Trainer) -> list[Path]:
        """The checkpoints to test after training; empty to test the learner in its final state."""
        if self.protocol.kept > 1 and trainer.best.kept:
            return trainer.best.kept_paths
        if self.protocol.select == "last":
            return []
        if trainer.best.top is None:
            trainer.best.explain_none()
            return []
        return [trainer.best.path]

    def _members(self, count: int) -> list[MetaLearner]:
        """The learner and `count` - 1 more built like it."""
        return [self.learner, *(self._build_learner() for _ in range(1, count))][:count]

    def _run_info(self, trainer: Trainer) -> RunInfo:
        names = self.name.label, self.name.id
        length = self.training.iterations
        return RunInfo(self.folder.path, *names, self.config, trainer.iteration, length)
