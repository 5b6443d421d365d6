"""The user's classes: found in the working directory; changes to them are reported."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import RUN

import mamlbench as package

pytestmark = pytest.mark.usefixtures("no_figures")

MINE = """
from mamlbench.algorithms import MAML


class Mine(MAML):
    def inner_rates(self, step):
        return {name: %s * rate for name, rate in super().inner_rates(step).items()}
"""


@pytest.fixture
def mine(mamlbench, monkeypatch):
    """`mine(factor, ...)` runs the command with a user's algorithm from the working directory."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(factor, *arguments):
        Path("my_lab.py").write_text(MINE % factor)
        monkeypatch.delitem(sys.modules, "my_lab", raising=False)
        return mamlbench(*RUN, *arguments, "algorithm._target_=my_lab.Mine")

    yield run
    sys.modules.pop("my_lab", None)


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_result_of_other_code_says_so(mine, flags):
    assert mine(1.0, *flags).code == 0
    same = mine(1.0, *flags)
    assert (same.code, "changed" in same.err) == (0, False)
    other = mine(9.0, *flags)
    assert other.code == 0
    file = Path("my_lab.py").absolute()
    it = "1 of them" if flags else "this run"
    assert f"mamlbench: since {it} began, {file} changed" in other.err
    (path,) = Path("outputs").rglob("summary.json")
    before = json.loads(path.read_text())["test"]
    assert mine(9.0, *flags, "restart=true").code == 0
    assert json.loads(path.read_text())["test"] != before
    assert "changed" not in mine(9.0, *flags).err


def test_a_test_says_that_the_code_changed_since_the_training(mine, mamlbench):
    assert mine(1.0).code == 0
    run = next(Path("outputs").rglob("summary.json")).parent
    line = f"checkpoint={run}", "algorithm._target_=my_lab.Mine"
    assert "changed" not in mamlbench(*line).err
    Path("my_lab.py").write_text(MINE % 9.0)
    told = mamlbench(*line, "evaluation.tasks=5")
    assert told.code == 0
    assert f"mamlbench: since {run} began, {Path('my_lab.py').absolute()} changed" in told.err


def test_a_run_that_went_on_with_other_code_keeps_saying_so(mine, monkeypatch):
    from mamlbench.run.signals import Stopped
    from mamlbench.training import Trainer

    save = Trainer.save

    def stopping(trainer):
        save(trainer)
        raise Stopped(15, trainer.iteration)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", stopping)
        assert mine(1.0, "training.checkpoint_every=1").code == 128 + 15
    file = Path("my_lab.py").absolute()
    for _ in range(2):  # when the run resumes, and when it is shown
        later = mine(9.0, "training.checkpoint_every=1")
        assert later.code == 0
        assert f"mamlbench: since this run began, {file} changed" in later.err


def test_the_code_of_one_checkout_with_the_configs_of_another(tmp_path):
    folder = Path(package.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__", "conf")
    shutil.copytree(folder, tmp_path / "mamlbench", ignore=ignore)
    done = subprocess.run(
        [sys.executable, "-m", "mamlbench", "budget=smoke"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{tmp_path / 'mamlbench'}: would use the configs of " in done.stderr
