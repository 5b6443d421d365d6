"""Keeps the best states of a learner so far, and their files."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from mamlbench import checkpoint
from mamlbench.algorithms.base import MetaLearner
from mamlbench.errors import UserError
from mamlbench.hardware.distributed import Ranks

_log = logging.getLogger(__name__)


class BestLearners:
    """Writes `best.pt`, and `best_<iteration>.pt` for each of several learners tested together.

    Args:
        learner: the learner whose states are kept.
        folder: folder for the files.
        count: how many learners are tested together.
        identity: additional entries of each file.
        ranks: the processes that train together; only the first reads and writes files.

    Attributes:
        top: the best value and its iteration.
        kept: the `count` best validations, best first.
        stale: number of validations since the best one.
        lost: the iteration of a best learner whose file no longer exists; see `restore`.
    """

    def __init__(
        self,
        learner: MetaLearner,
        folder: Path,
        count: int,
        identity: dict[str, Any],
        ranks: Ranks,
    ) -> None:
        self.learner, self.count, self.identity, self.ranks = learner, count, identity, ranks
        self.path = folder / "best.pt"
        self.top: dict[str, float] | None = None
        self.kept: list[dict[str, float]] = []
        self.stale = 0
        self.lost: int | None = None

    def state(self) -> dict[str, Any]:
        """The state to store in a checkpoint."""
        return {"best": self.top, "kept": self.kept, "stale": self.stale}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint's state.

        `best.pt` may be newer than the checkpoint, if the run was killed between the two writes.
        Training may not reach that learner again, for example on a GPU, so the search for the best
        starts over; if it does, the same learner is the best again.
        """
        self.top, self.kept, self.stale = state["best"], state["kept"], state["stale"]
        if self.top is None:
            return
        if self.top["iteration"] != self.ranks.from_first(self._iteration_on_disk):
            self.lost, self.top = int(self.top["iteration"]), None
            _log.warning(
                "%s: lacks iteration %d; the search for the best starts over", self.path, self.lost
            )

    def explain_none(self) -> None:
        """Call this when the best learner is wanted and `top` is None: the last one is tested.

        Raises:
            UserError: there was a best learner, but its file is lost.
        """
        if self.lost is not None:
            what = f"the best learner, from iteration {self.lost}, is lost"
            raise UserError(f"{self.path}: {what}; restart=true starts over")
        if self.stale:
            _log.warning("no meta-validation was finite, so the last learner is tested")

    def _iteration_on_disk(self) -> int | None:
        """The iteration of `best.pt`; None if the file is missing or damaged."""
        try:
            return int(checkpoint.load(self.path)["iteration"])
        except (UserError, KeyError):
            return None

    @property
    def kept_paths(self) -> list[Path]:
        """Paths of the learners in `kept`, best first."""
        return [self._path_of(int(entry["iteration"])) for entry in self.kept]

    def remove_surpassed(self) -> None:
        """Delete the files of learners no longer in `kept`.

        Call this only after saving a checkpoint: resuming needs the files that it lists.
        """
        for path in set(self.path.parent.glob("best_*.pt")) - set(self.kept_paths):
            path.unlink(missing_ok=True)

    def consider(self, value: float, iteration: int) -> None:
        """Save the current learner as `best.pt` if its value is finite and the best so far."""
        if not math.isfinite(value):
            return
        found = {"value": value, "iteration": iteration}
        if self.top is None or self._score(found) > self._score(self.top):
            self.top, self.stale = found, 0
            self._write(self.path, found)

    def rank(self, value: float, iteration: int) -> None:
        """Save the current learner if its value is finite and among the `count` best."""
        if not math.isfinite(value):
            return
        found = {"value": value, "iteration": iteration}
        # the sort is stable, so the earlier of two equal values ranks higher
        ranked = sorted([*self.kept, found], key=self._score, reverse=True)
        self.kept = ranked[: self.count]
        if found in self.kept:
            self._write(self._path_of(iteration), found)

    def _path_of(self, iteration: int) -> Path:
        return self.path.with_name(f"best_{iteration}.pt")

    def _write(self, path: Path, found: dict[str, float]) -> None:
        if self.ranks.is_first:
            state = {
                "learner": self.learner.state_dict(),
                "iteration": found["iteration"],
                "score": self._score(found),
            }
            checkpoint.save(path, state | self.identity)

    def _score(self, found: dict[str, float]) -> float:
        """The metric, negated if lower is better; an old state's NaN scores worst."""
        sign = 1.0 if self.learner.objective.higher_is_better else -1.0
        value = sign * found["value"]
        return -math.inf if math.isnan(value) else value
