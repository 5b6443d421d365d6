"""Writes metrics.csv, the primary record of a run; W&B and TensorBoard get copies of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from mamlbench.errors import UserError
from mamlbench.files import disk_errors, write_atomically
from mamlbench.loggers.base import Logger, RunInfo


class CSVLogger(Logger):
    """Writes `<run folder>/metrics.csv`: one row per logged iteration, first column `iteration`.

    A metric's column is added when the metric is first logged; earlier rows are blank there. Values
    have the shortest form that reads back exactly, so equal runs write equal bytes. When `log`
    returns, the row has been written to the operating system, completely or not at all. A resumed
    run keeps the rows up to its checkpoint and drops the rest; a fresh run starts a new file.

    Raises:
        UserError: the disk is full, the file is not writable, or the file to continue is damaged.
    """

    def __init__(self) -> None:
        self._path = Path()
        self._columns: list[str] = []
        self._last = -1
        self._file: io.FileIO | None = None

    def start(self, run: RunInfo) -> None:
        """Keep the rows up to `run.iteration`; none for a fresh run."""
        self._path = run.directory / "metrics.csv"
        self._last = run.iteration or -1
        rows = _rows(self._path) if run.iteration else []
        self._columns = rows[0] if rows else ["iteration"]
        self._rewrite([row for row in rows[1:] if int(row[0]) <= run.iteration])

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Add a row.

        Raises:
            ValueError: `iteration` is not greater than the last logged one.
        """
        if iteration <= self._last:
            raise ValueError(f"iteration {iteration} logged after iteration {self._last}")
        new = [name for name in metrics if name not in self._columns]
        if new:
            rows = _rows(self._path)[1:]
            self._columns += new
            self._rewrite([row + [""] * len(new) for row in rows])
        cells = {name: repr(float(value)) for name, value in metrics.items()}
        self._append([str(iteration), *(cells.get(name, "") for name in self._columns[1:])])
        self._last = iteration

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rewrite(self, rows: list[list[str]]) -> None:
        self.close()
        write_atomically(self._path, _text([self._columns, *rows]))
        with disk_errors(self._path):
            self._file = io.FileIO(self._path, "a")

    def _append(self, row: list[str]) -> None:
        if self._file is None:
            raise RuntimeError("the logger was not started")
        end = self._file.tell()
        rest = _text([row]).encode()
        with disk_errors(self._path):
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(end)
                raise


def _text(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _rows(path: Path) -> list[list[str]]:
    """Header and rows, without a last line cut short by a kill; empty if there is no file.

    Raises:
        UserError: the file is not a valid metrics.csv.
    """
    try:
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        rows = list(csv.reader(io.StringIO(whole)))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a log to continue ({error})") from error
    if not rows:
        return []
    for number, row in enumerate(rows, start=1):
        sound = row[0].isdecimal() if number > 1 and row else row[:1] == ["iteration"]
        if not sound or len(row) != len(rows[0]):
            raise UserError(f"{path}: line {number} is damaged; restart=true starts over")
    return rows


def kept_rows(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Iteration and metrics of each row of a `metrics.csv`, which a run may still be writing.

    Raises:
        ValueError, KeyError, TypeError: the text is not a valid metrics.csv.
    """
    # drop an incomplete last line, which is being written or was cut short by a kill
    lines = text[: text.rfind("\n") + 1].splitlines()
    for row in csv.DictReader(lines):
        iteration = int(row.pop("iteration"))
        yield iteration, {name: float(value) for name, value in row.items() if value}
