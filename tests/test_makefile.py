"""What `make` does, with stand-ins for the tools that it calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("pip", "python", "ruff", "clang-format", "mypy", "pytest")


class Checkout:
    """A folder with the Makefile, in which every tool only records that it was called."""

    def __init__(self, path: Path) -> None:
        self.path, self.called = path, path / "called"
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, path)
        self.tool("scripts/install_learn2learn.sh")

    def tool(self, name: str, then: str = "") -> None:
        """Create a stand-in of this name, which records its call and then runs `then`."""
        tool = self.path / name
        tool.parent.mkdir(parents=True, exist_ok=True)
        note = f'echo {tool.name} $1 "${{OMP_NUM_THREADS-}}" >>{self.called}'
        tool.write_text(f"#!/bin/sh\n{note}\n{then}\n")
        tool.chmod(0o755)

    def make(self, *arguments: str) -> tuple[int, list[str]]:
        """The exit code of `make`, and the tools that it called."""
        self.called.write_text("")
        given = {name: value for name, value in os.environ.items() if "MAKE" not in name}
        given.pop("OMP_NUM_THREADS", None)
        done = subprocess.run(["make", *arguments], cwd=self.path, env=given, capture_output=True)
        return done.returncode, [line.strip() for line in self.called.read_text().splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    return Checkout(tmp_path)


@pytest.mark.parametrize("failing", ["", "mypy", "pytest"])
def test_tests_run_where_lint_fails_which_fails_at_the_end(
    checkout: Checkout, failing: str
) -> None:
    for tool in TOOLS:
        checkout.tool(f".venv/bin/{tool}", "exit 1" if tool == failing else "")
    code, called = checkout.make("test")
    assert code == (2 if failing else 0)
    tests = "pytest -n 1"  # with OMP_NUM_THREADS=1
    assert called[-5:] == ["ruff check", "ruff format", "clang-format --dry-run", "mypy", tests]


def test_an_environment_that_lacks_pip_is_made_anew(checkout: Checkout) -> None:
    """As on Debian if the package python3-venv is missing."""
    checkout.tool(".venv/bin/python")
    checkout.tool("python3", '[ "$1" = -c ] || cp .venv/bin/python .venv/bin/pip')
    checkout.tool(".venv/bin/mamlbench")
    code, called = checkout.make("demo", "PYTHON=./python3")
    assert code == 0
    # "python install" is pip, which is a copy of python
    assert called == ["python3 -c", "python3 -m", "python install", "mamlbench"]
