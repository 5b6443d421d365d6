"""A one-node SLURM, started by `scripts/local_slurm.sh`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import runs

SCRIPT = Path(__file__).parents[1] / "scripts/local_slurm.sh"


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Path]:
    """Run it and give its slurm.conf; `environment` is added to the script's environment."""
    start, given = [SCRIPT, "start", folder], {**os.environ, **environment}
    started = subprocess.run(start, env=given, capture_output=True, text=True)
    if started.returncode in (3, 4):
        runs.lacking(started.stderr.strip())
    assert started.returncode == 0, started.stderr
    try:
        yield Path(started.stdout.strip().removeprefix("export SLURM_CONF="))
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True)
        assert not folder.exists()
