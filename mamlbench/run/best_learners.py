"""The best states of a learner so far: which they are, and their files."""

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
    """`best.pt`, and `best_<iteration>.pt` of each of the best, where several are tested together.

    Args:
        learner: whose states they are.
        folder: where the files go.
        count: how many are tested together.
        identity: what else a file carries.
        ranks: the processes that train together, of which the first reads and writes files.

    Attributes:
        top: the best value and its iteration.
        kept: the best validations, best first, as many as are tested together.
        stale: validations since the best one.
        lost: the iteration of a best one whose file is not there any more; see `restore`.
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
        """What a checkpoint has of it."""
        return {"best": self.top, "kept": self.kept, "stale": self.stale}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state.

        `best.pt` may be newer, where a run was killed between its writing and the checkpoint's.
        What follows need not lead there again, on a GPU say, so that the best begins anew; where
        it does, the same is the best again.
        """
        self.top, self.kept, self.stale = state["best"], state["kept"], state["stale"]
        if self.top is None:
            return
        if self.top["iteration"] != self.ranks.from_first(self._iteration_on_disk):
            self.lost, self.top = int(self.top["iteration"]), None
            _log.warning("%s: is not of iteration %d; the best begins anew", self.path, self.lost)

    def require_none_lost(self) -> None:
        """To be asked where a best learner is wanted, and there is none.

        Raises:
            UserError: there was one.
        """
        if self.lost is not None:
            what = f"the best learner, of iteration {self.lost}, is not there any more"
            raise UserError(f"{self.path}: {what}; restart=true begins anew")

    def _iteration_on_disk(self) -> int | None:
        """That of `best.pt`; None where it is not there, or damaged."""
        try:
            return int(checkpoint.load(self.path)["iteration"])
        except (UserError, KeyError):
            return None

    @property
    def kept_paths(self) -> list[Path]:
        """The files of `kept`, best first."""
        return [self._path_of(int(entry["iteration"])) for entry in self.kept]

    def remove_surpassed(self) -> None:
        """Not before a checkpoint says so: a resume needs those that were among the best then."""
        for path in set(self.path.parent.glob("best_*.pt")) - set(self.kept_paths):
            path.unlink(missing_ok=True)

    def consider(self, value: float, iteration: int) -> None:
        """Keep the learner as it is now, where its value is the best so far."""
        found = {"value": value, "iteration": iteration}
        if self.top is None or self._score(found) > self._score(self.top):
            self.top, self.stale = found, 0
            self._write(self.path, found)

    def rank(self, value: float, iteration: int) -> None:
        """Keep it, where it is among the best that are tested together."""
        found = {"value": value, "iteration": iteration}
        # the sort is stable: of equals the earlier one is the better
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
        """Its metric with the sign that makes higher better; what is not a number is worst."""
        sign = 1.0 if self.learner.objective.higher_is_better else -1.0
        value = sign * found["value"]
        return -math.inf if math.isnan(value) else value
