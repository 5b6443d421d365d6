"""The user's datasets of files: whether it is noticed that the data have changed."""

import json
import sys
from pathlib import Path

import pytest
from runs import RUN

pytestmark = pytest.mark.usefixtures("no_figures")

MINE = """
from pathlib import Path

from mamlbench.datasets import Sinusoid


class Unnamed(Sinusoid):
    def __init__(self, root: str, **options):
        super().__init__(**options)
        self.path = Path(root) / "scale.txt"

    def load(self, device):
        super().load(device)
        self.scale = float(self.path.read_text())

    def curve(self, info, x):
        return self.scale * super().curve(info, x)


class Named(Unnamed):
    def __init__(self, root: str, **options):
        super().__init__(root, **options)
        self.files = [self.path]
"""


@pytest.fixture
def mine(mamlbench, monkeypatch):
    """`mine(name, ...)` runs the command with a user's dataset of the file `data/scale.txt`."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("my_data.py").write_text(MINE)
    Path("data").mkdir()
    Path("data/scale.txt").write_text("2.0")

    def run(name, *arguments):
        own = f"dataset._target_=my_data.{name}", "+dataset.root=data"
        return mamlbench(*RUN, *own, *arguments)

    yield run
    sys.modules.pop("my_data", None)


def test_a_dataset_that_names_its_files_notices_that_they_have_changed(mine):
    assert "no hash" not in mine("Named").err
    assert mine("Named").code == 0
    (path,) = Path("outputs").rglob("summary.json")
    before = json.loads(path.read_text())["data_sha256"]
    Path("data/scale.txt").write_text("3.0")
    changed = mine("Named")
    assert changed.code == 2
    assert "is a result on other data (sha256 " in changed.err
    assert mine("Named", "restart=true").code == 0
    assert json.loads(path.read_text())["data_sha256"] != before


def test_a_dataset_that_does_not_is_said_to_go_on_with_any(mine):
    told = "mamlbench: Unnamed has no hash of its data, so that a run goes on even if they have"
    assert told in mine("Unnamed").err
    (path,) = Path("outputs").rglob("summary.json")
    assert json.loads(path.read_text())["data_sha256"] is None
