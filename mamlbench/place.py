"""Which folder a run has, from its config's values alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mamlbench import checkpoint
from mamlbench.config import result_hash
from mamlbench.tested import tested_checkpoints


def hash_of_result(values: Mapping[str, Any]) -> str:
    """See `result_hash`; a file that a run begins from is what is in it, wherever it lies.

    Raises:
        UserError: there is no such file.
    """
    tested, more = tested_checkpoints(values), {}
    if values["warm_start"] is not None:
        begun = checkpoint.resolve(Path(values["warm_start"]), "warm_start")
        more["warm_start"] = _file_hash([begun])  # without a warm start, nothing of it is hashed
    return result_hash(values, checkpoint=_file_hash(tested) if tested else None, **more)


def _file_hash(paths: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
