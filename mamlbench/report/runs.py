"""Read finished runs from their files: without torch, a thousand in seconds."""

from __future__ import annotations

import json
import logging
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from mamlbench import metrics
from mamlbench.config.settings import flat, option_text
from mamlbench.errors import UserError
from mamlbench.files import read_yaml
from mamlbench.report.run_files import Config, Measured, Summary

if TYPE_CHECKING:
    import pandas as pd

_LOG = logging.getLogger(__name__)

_TESTS = ("test_tasks.csv", "test_tasks.csv.gz")
_STEPS = re.compile(r" \([\d,]+ iterations\)")
_COMMIT = re.compile(r"\b([0-9a-f]{7})[0-9a-f]{33}\b")


@dataclass(frozen=True)
class Skipped:
    """A folder that looks like a run's but cannot be reported.

    Attributes:
        path: the folder.
        why: the reason, in words.
    """

    path: Path
    why: str


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where its files lie.
        config: content of `config.yaml`.
        summary: content of `summary.json`.
    """

    folder: Path
    config: Mapping[str, Any]
    summary: Summary

    @property
    def seed(self) -> int:
        """Seed of initial parameters and meta-training tasks, from the run that trained."""
        trained = self.summary.trained_in
        return self.summary.seed if trained is None or trained.seed is None else trained.seed

    @property
    def code(self) -> str:
        """The commit, with a `+` for uncommitted changes; the version if there is no commit.

        For a run that continued with other code, all of them in order.
        """
        if self.summary.commits:
            return _STEPS.sub("", self.summary.commits)
        commit = self.config["about"].get("commit")
        return str(commit) if commit else f"version {self.summary.versions.get('mamlbench', '?')}"

    @property
    def short_code(self) -> str:
        """The code as a footnote shows it; of several commits, each with its outer steps."""
        return _COMMIT.sub(r"commit \1", self.summary.commits or self.code)

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """The flat options of its setting: its config's, and others that change the result."""
        return {
            **flat(self.config),
            **self._place_of_data,
            "hardware.precision": self.config["hardware"]["precision"],
            "warm_start": self.config["warm_start"],
            "data_sha256": self.summary.data_sha256,
            "trained_on": self.trained_on,
            "mujoco": self.mujoco,
        }

    @property
    def _place_of_data(self) -> dict[str, Any]:
        """The option `dataset.root`, if there is no hash to say which data were there."""
        dataset = self.config["dataset"]
        unknown = self.summary.data_sha256 is None and "root" in dataset
        return {"dataset.root": dataset["root"]} if unknown else {}

    @property
    def trained_on(self) -> str | None:
        """How a tested checkpoint was trained, in words, if the config does not say the same."""
        own, run = self.summary, self.summary.trained_in
        if run is None:
            return None
        names = run.algorithm, run.dataset, run.setting
        others = names != (own.algorithm, own.dataset, own.setting)
        options = [f"{name}={option_text(value)}" for name, value in run.otherwise.items()]
        return " ".join([*(names if others else ()), *options]) or None

    @property
    def mujoco(self) -> str | None:
        """MuJoCo's version, if it simulates the dataset."""
        return (
            self.summary.versions.get("mujoco") if "frame_skip" in self.config["dataset"] else None
        )

    @property
    def iterations(self) -> int | None:
        """Outer steps of the training, even if another run did it; None if not recorded."""
        if self.config.get("checkpoint") is None:
            return self.summary.train.iterations
        reached = self.summary.trained_iterations
        if self.config["evaluation"].get("select") == "last" or self.summary.of_unfinished:
            return reached
        # reached is the best checkpoint's iteration; how far its run continued is not recorded,
        # but a finished run did all planned iterations unless it could stop early
        training, run = self.config["training"], self.summary.trained_in
        planned = training["iterations"] if run is None else run.iterations
        return max(reached, planned) if training.get("patience") is None else None

    @property
    def measured(self) -> list[str]:
        """Names of the metrics after the last inner step."""
        return list(self.summary.test.by_step[-1] or {})

    def estimate(self, metric: str, step: int | None = None) -> Measured | None:
        """The metric after `step` inner steps (None: the last), if it was measured."""
        by_step = self.summary.test.by_step
        if step is not None and step >= len(by_step):
            return None
        return (by_step[-1 if step is None else step] or {}).get(metric)

    @property
    def tests(self) -> Path | None:
        """The file with the scores of each test task, if it was kept."""
        return next((self.folder / n for n in _TESTS if (self.folder / n).is_file()), None)

    def by_task(self, metric: str, step: int | None = None) -> pd.Series | None:
        """The metric of each test task after `step` inner steps (None: the last), by task number.

        None if it was not kept.
        """
        last = len(self.summary.test.by_step) - 1
        place = metric, last if step is None else step
        if place not in self._by_task:
            self._by_task[place] = self._read_tasks(*place)
        return self._by_task[place]

    @cached_property
    def _by_task(self) -> dict[tuple[str, int], pd.Series | None]:
        """Cache of what was read: several comparisons share it, but all steps may be large."""
        return {}

    def _read_tasks(self, metric: str, step: int) -> pd.Series | None:
        import pandas as pd

        if self.tests is None:
            return None
        wanted = {"task", "step", metric}
        rows = _numbers(self.tests, wanted)
        if rows is None or wanted > set(rows):  # it was not measured
            return None
        chosen = (rows["step"] == step).to_numpy()
        if not chosen.any() or rows["task"][chosen].duplicated().any():
            return None
        return pd.Series(rows[metric].to_numpy()[chosen], rows["task"].to_numpy()[chosen])

    def curve(self) -> pd.DataFrame | None:
        """The rows of `metrics.csv`, if there are any."""
        path = self.folder / "metrics.csv"
        rows = _numbers(path) if path.is_file() else None
        return None if rows is None or rows.empty else rows


def higher_is_better(runs: Iterable[Run], metric: str) -> bool:
    """Whether a higher metric is better: from a run whose main metric it is, or else its name."""
    said = (run.summary.higher_is_better for run in runs if run.summary.metric == metric)
    return next(said, metrics.higher_is_better(metric))


def collect(folders: Iterable[Path]) -> tuple[list[Run], list[Skipped]]:
    """All finished runs at and below the folders, each once; by path within each folder.

    Returns:
        the runs, and the folders that look like a run's but cannot be read.

    Raises:
        UserError: a folder does not exist.
    """
    found: dict[Path, Run] = {}
    skipped: list[Skipped] = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder; accepted is one with runs below")
        for place in sorted(_places(folder)):
            if place.resolve() in found:
                continue
            try:
                found[place.resolve()] = read_run(place)
            except UserError as error:
                skipped.append(Skipped(place, str(error)))
    return _without_copies(list(found.values())), skipped


def read_run(folder: Path) -> Run:
    """Read the run in a folder.

    Raises:
        UserError: says what is wrong with its files, without naming the folder.
    """
    try:
        summary = Summary.model_validate(json.loads((folder / "summary.json").read_bytes()))
    except (ValueError, OSError) as error:
        raise UserError(_why("summary.json", error)) from error
    try:
        content = read_yaml(folder / "config.yaml")
        Config.model_validate(content)
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise UserError(_why("config.yaml", error)) from error
    return Run(folder, content, summary)


def _numbers(path: Path, columns: Set[str] | None = None) -> pd.DataFrame | None:
    """These columns of a CSV (None: all), as far as it has them; None and a warning if damaged."""
    import pandas as pd

    try:
        rows = pd.read_csv(path, usecols=None if columns is None else columns.__contains__)
        if not (rows.empty or all(map(pd.api.types.is_numeric_dtype, rows.dtypes))):
            raise ValueError("not numbers alone")
    except (ValueError, OSError, EOFError, zlib.error):
        _LOG.warning("left out: %s: half-written or damaged", path)
        return None
    return rows


def _why(name: str, error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its content"
        return f"{name} is not a run's: {place}: {first['msg'].lower()}"
    if isinstance(error, FileNotFoundError):
        return f"there is no {name}"
    if isinstance(error, OSError):
        return f"{name} cannot be read: {error.strerror}"
    return f"{name} is half-written or damaged"


def _places(folder: Path) -> Iterator[Path]:
    for here, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if name != "figures" and name[0] != ".")
        if "summary.json" in names:
            yield Path(here)


def _without_copies(runs: Sequence[Run]) -> list[Run]:
    """Keep the first of several copies of a run, which agree to the last digit of the result."""
    seen: dict[str, Run] = {}
    for run in runs:
        summary = run.summary
        one = (summary.hash, run.seed, run.code, summary.train.seconds, summary.command)
        key = repr(one) + summary.test.model_dump_json()
        seen.setdefault(key, run)
    return list(seen.values())
