"""The hash in a run's folder name, computed from the config's values without building the run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mamlbench import checkpoint
from mamlbench.config.config_hash import config_hash
from mamlbench.run.tested import tested_checkpoints


def result_hash(values: Mapping[str, Any]) -> str:
    """Like `config_hash`, but a checkpoint counts by the learner in it, not by its path or date.

    Raises:
        UserError: a checkpoint does not exist or is not valid.
    """
    tested, more = tested_checkpoints(values), {}
    if values["warm_start"] is not None:
        begun = checkpoint.resolve(Path(values["warm_start"]), "warm_start")
        # no entry without a warm start
        more["warm_start"] = _learned([begun], "warm_start")
    learned = _learned(tested, "checkpoint") if tested else None
    return config_hash(values, checkpoint=learned, **more)


def _learned(paths: Iterable[Path], option: str) -> str:
    """Hash the learners and iterations of these checkpoints, but not their training times."""
    states = [checkpoint.load(path, option) for path in paths]
    parts = [{name: state.get(name) for name in ("iteration", "learner")} for state in states]
    return hashlib.sha256(b"".join(checkpoint.as_bytes(part) for part in parts)).hexdigest()
