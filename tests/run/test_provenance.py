"""Which files a run's result depends on."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from mamlbench.algorithms import MAML
from mamlbench.networks import MLP
from mamlbench.objectives import Regression
from mamlbench.run.provenance import changed_files, code_files


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a package `own_lab`, whose learner imports a factor from another file."""
    folder = tmp_path / "own_lab"
    folder.mkdir()
    learner = "from mamlbench.algorithms import MAML\nfrom own_lab.parts import FACTOR\n\n\n"
    (folder / "__init__.py").touch()
    (folder / "learner.py").write_text(learner + "class Mine(MAML):\n    factor = FACTOR\n")
    (folder / "parts.py").write_text("FACTOR = 1\n")
    (folder / "unused.py").write_text("FACTOR = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    return folder


def test_of_a_users_package_all_files_that_are_loaded(own: Path) -> None:
    mine = import_module("own_lab.learner").Mine(MLP((1,), 1), Regression())
    found = code_files(mine)
    loaded = [str(own / name) for name in ("__init__.py", "learner.py", "parts.py")]
    assert sorted(found) == loaded  # no files of mamlbench, whose commit is recorded
    assert changed_files(found) == []
    (own / "parts.py").write_text("FACTOR = 2\n")
    assert changed_files(found) == [loaded[2]]


def test_of_mamlbench_the_file_of_each_class(own: Path) -> None:
    import_module("own_lab.parts")
    learner = MAML(MLP((1,), 1), Regression())
    parts = "mamlbench/algorithms/maml.py", "mamlbench/networks/mlp.py"
    assert sorted(code_files(learner, learner.network)) == list(parts)
    found = code_files(learner, modules=("own_lab.parts",))
    assert sorted(found) == sorted([str(own / "__init__.py"), str(own / "parts.py"), parts[0]])
