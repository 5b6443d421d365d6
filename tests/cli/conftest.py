"""Runs the command `mamlbench` inside the test's process."""

import importlib.util
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import runs
from hydra.core.global_hydra import GlobalHydra
from runs import RUN

from mamlbench.cli.main import main
from mamlbench.compose import experiment

_RUNS = ("mamlbench trains ", "mamlbench tests ", "mamlbench shows ")
_NO_PRESET = "mamlbench: there is no preset "


@dataclass
class Result:
    """A command's exit code and output."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The only line of stderr, except for progress and which run this is."""
        assert "Traceback" not in self.err
        said = [
            line.removeprefix("mamlbench: ")
            for line in self.err.splitlines()
            if line.startswith("mamlbench: ") and not line.startswith(_NO_PRESET)
        ]
        other = [
            line
            for line in self.err.splitlines()
            if not line.startswith(("mamlbench: ", *_RUNS)) and " left  " not in line
        ]
        assert len(said) == 1, self.err
        assert not other, self.err
        return said[0]


@pytest.fixture
def clean_logging() -> Iterator[None]:
    """Undo Hydra's logging set-up, whose streams are closed after the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


@pytest.fixture
def mamlbench(monkeypatch, capsys, tmp_path, clean_logging):
    """`mamlbench(*arguments)` runs the command in an empty working directory."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def command(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["mamlbench", *arguments])
        GlobalHydra.instance().clear()
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return command


@pytest.fixture
def without(monkeypatch):
    """`without(package)` makes a package appear not installed."""
    find = importlib.util.find_spec

    def patch(package: str) -> None:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda n, *a: None if n == package else find(n, *a)
        )

    return patch


@pytest.fixture
def full_match():
    """Assert that a regular expression matches a whole line."""

    def check(expression: str, line: str) -> None:
        assert re.fullmatch(expression, line), f"{line!r}\nis not\n{expression!r}"

    return check


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The outputs of one finished run, for tests to copy and damage."""
    outputs = tmp_path_factory.mktemp("trained") / "outputs"
    with runs.without_figures():
        experiment([*RUN, f"outputs={outputs}"]).run()
    return outputs


@pytest.fixture
def run(trained, mamlbench):
    """The folder of a finished run in `outputs`, copied for this test."""
    shutil.copytree(trained, "outputs")
    return next(Path("outputs").rglob("summary.json")).parent
