"""A really full file system: the last good files survive, and the error names the file."""

import pytest

from mamlbench import checkpoint
from mamlbench.errors import UserError
from mamlbench.files import write_atomically
from mamlbench.loggers import CSVLogger, RunInfo


def test_checkpoint(small_disk):
    path = small_disk / "checkpoint.pt"
    checkpoint.save(path, {"iteration": 1, "data": b"x" * 80_000})
    with pytest.raises(UserError, match=f"cannot write {path}: the disk is full"):
        checkpoint.save(path, {"iteration": 2, "data": b"x" * 400_000})
    assert checkpoint.load(path)["iteration"] == 1
    assert [entry.name for entry in small_disk.iterdir()] == ["checkpoint.pt"]


def test_rows_of_the_log(small_disk):
    write_atomically(small_disk / "ballast", b"x" * 160_000)
    logger = CSVLogger()
    logger.start(RunInfo(small_disk, "run", "abc-0", {}, 0, 100_000))
    path = small_disk / "metrics.csv"
    iteration = 0
    with pytest.raises(UserError, match=f"cannot write {path}: the disk is full"):  # noqa: PT012
        while iteration < 100_000:
            iteration += 1
            logger.log(iteration, {"train/loss": 1 / iteration})
    logger.close()
    lines = path.read_text().split("\n")
    assert lines[-1] == ""
    assert lines[-2] == f"{iteration - 1},{1 / (iteration - 1)!r}"
