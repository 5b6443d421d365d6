"""Stores the scores of an unfinished test in a file, so that the test can resume."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from torch import nn

from mamlbench.checkpoint import as_bytes
from mamlbench.evaluation.calibration import Reliability
from mamlbench.evaluation.scores import Scores
from mamlbench.files import write_atomically
from mamlbench.hardware.distributed import Share
from mamlbench.run.signals import Stopped, StopRequest

_SECONDS = 60.0
"""Interval between writes."""

_BINS = "bins"


class KeptScores:
    """One process's scores so far of its share of the test tasks.

    Args:
        path: the file.
        of: the learner, and the protocol and data as text; a file about anything else is ignored.
        request: checked after each part for a signal to stop.
        iteration: outer steps that the run has done, for the message.
    """

    def __init__(
        self, path: Path, of: tuple[nn.Module, str], request: StopRequest, iteration: int
    ) -> None:
        self.path, self.request, self.iteration = path, request, iteration
        learner, tested_by = of
        self._of = hashlib.sha256(as_bytes([tested_by, learner.state_dict()])).hexdigest()
        self._written_at = time.monotonic()

    def read(self, share: Share) -> list[Scores]:
        """The stored scores of a share's first tasks, as one part; empty if there are none."""
        try:
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                arrays = {name: file[name] for name in file.files if name != "about"}
            if about != self._about(share, about.get("steps", [])):
                return []
        except (OSError, EOFError, ValueError, KeyError, AttributeError, BadZipFile):
            return []  # the file is missing or damaged: the test starts over
        bins = arrays.pop(_BINS, None)
        reliability = None if bins is None else Reliability(bins)
        return [Scores(arrays, tuple(about["steps"]), reliability)]

    def keep(self, parts: Sequence[Scores], share: Share) -> None:
        """Call this after each part; it writes the scores once a minute, and before stopping.

        Raises:
            Stopped: a signal asked the run to stop.
            UserError: the disk refused the file.
        """
        received = self.request.received
        if received or time.monotonic() - self._written_at >= _SECONDS:
            self._write(Scores.of_parts(parts), share)
        if received:
            raise Stopped(received, self.iteration, sum(part.tasks for part in parts))

    def _write(self, scores: Scores, share: Share) -> None:
        arrays: dict[str, Any] = dict(scores.by_task)
        if scores.reliability is not None:
            arrays[_BINS] = scores.reliability.bins
        buffer = io.BytesIO()
        about = json.dumps(self._about(share, list(scores.steps)))
        np.savez(buffer, about=np.array(about), **arrays)
        write_atomically(self.path, buffer.getvalue())
        self._written_at = time.monotonic()

    def _about(self, share: Share, steps: list[int]) -> Mapping[str, Any]:
        return {"of": self._of, "tasks": [share.first, share.end], "steps": steps}
