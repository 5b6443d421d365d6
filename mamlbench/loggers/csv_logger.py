"""metrics.csv: the record that every other logger is a copy of."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from mamlbench.errors import UserError
from mamlbench.files import disk_errors, write_atomically
from mamlbench.loggers.base import Logger, RunInfo


class CSVLogger(Logger):
    """One row a logged iteration, first column `iteration`, in `<run folder>/metrics.csv`.

    A metric's column appears when it is first logged and stays blank above. Values are written in
    the shortest form that reads back exactly, so equal runs give equal bytes. Each row is on its
    way to the disk when `log` returns, whole or not at all. A run that continues keeps the rows up
    to its checkpoint and drops the rest; a fresh run begins anew.

    Raises:
        UserError: the disk is full, the place not writable, or the file to continue is damaged.
    """

    def __init__(self) -> None:
        self._path = Path()
        self._columns: list[str] = []
        self._last = -1
        self._file: io.FileIO | None = None

    def start(self, run: RunInfo) -> None:
        """Keep the rows up to `run.iteration`, none for a fresh run."""
        self._path = run.directory / "metrics.csv"
        self._last = run.iteration or -1
        rows = _rows(self._path) if run.iteration else []
        self._columns = rows[0] if rows else ["iteration"]
        self._rewrite([row for row in rows[1:] if int(row[0]) <= run.iteration])

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Add a row.

        Raises:
            ValueError: `iteration` does not come after the one before.
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
    """Header and rows, without a last line that a kill cut short; nothing where no file is.

    Raises:
        UserError: the file is not such a log.
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
            raise UserError(f"{path}: line {number} is damaged; restart=true begins the run anew")
    return rows


def kept_rows(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Iteration and metrics of each row of a `metrics.csv`, of which a run may be at work.

    Raises:
        ValueError, KeyError, TypeError: it is not such a file.
    """
    # a last line without its end is being written, or was when the run was killed
    lines = text[: text.rfind("\n") + 1].splitlines()
    for row in csv.DictReader(lines):
        iteration = int(row.pop("iteration"))
        yield iteration, {name: float(value) for name, value in row.items() if value}
