"""The hash that a run's folder has, from its config's values alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mamlbench import checkpoint
from mamlbench.config.config_hash import config_hash
from mamlbench.run.tested import tested_checkpoints


def result_hash(values: Mapping[str, Any]) -> str:
    """As `config_hash`; a checkpoint is the learner in it, whenever it was made, wherever it lies.

    Raises:
        UserError: there is no such file, or it is no checkpoint.
    """
    tested, more = tested_checkpoints(values), {}
    if values["warm_start"] is not None:
        begun = checkpoint.resolve(Path(values["warm_start"]), "warm_start")
        # without a warm start, nothing of it is hashed
        more["warm_start"] = _learned([begun], "warm_start")
    learned = _learned(tested, "checkpoint") if tested else None
    return config_hash(values, checkpoint=learned, **more)


def _learned(paths: Iterable[Path], option: str) -> str:
    """A hash of what these checkpoints' learners are, not of the seconds that they took."""
    states = [checkpoint.load(path, option) for path in paths]
    parts = [{name: state.get(name) for name in ("iteration", "learner")} for state in states]
    return hashlib.sha256(b"".join(checkpoint.as_bytes(part) for part in parts)).hexdigest()
