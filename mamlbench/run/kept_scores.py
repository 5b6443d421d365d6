"""Scores of a test that is not over, kept in a file, so that it goes on where it was stopped."""

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
"""From one writing to the next."""

_BINS = "bins"


class KeptScores:
    """What one process has scored so far of its share of the test tasks.

    Args:
        path: the file.
        of: the learner, and by what protocol on what data; scores of anything else in the file are
            not read.
        request: asked after each part whether to stop.
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
        """The scores of the first tasks of a share, as one part; none, where none were kept."""
        try:
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                arrays = {name: file[name] for name in file.files if name != "about"}
            if about != self._about(share, about.get("steps", [])):
                return []
        except (OSError, EOFError, ValueError, KeyError, AttributeError, BadZipFile):
            return []  # nothing there, or damaged: the test begins anew
        bins = arrays.pop(_BINS, None)
        reliability = None if bins is None else Reliability(bins)
        return [Scores(arrays, tuple(about["steps"]), reliability)]

    def keep(self, parts: Sequence[Scores], share: Share) -> None:
        """To be called after each part; writes once a minute, and before it stops.

        Raises:
            Stopped: a signal asked for it.
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
