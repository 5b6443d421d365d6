"""What a user reads if learn2learn is missing."""

from __future__ import annotations

import sys

import pytest

from mamlbench.algorithms import Learn2LearnMAML
from mamlbench.datasets import Learn2LearnBenchmark
from mamlbench.errors import UserError
from mamlbench.learn2learn_import import learn2learn
from mamlbench.networks import MLP
from mamlbench.objectives import Regression


@pytest.fixture
def missing(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "learn2learn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "learn2learn", None)  # makes its import fail


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize(
    "use", [learn2learn, lambda: Learn2LearnMAML(MLP((1,), 1), Regression()), Learn2LearnBenchmark]
)
def test_missing_is_one_line_that_says_how_to_install_it(use):
    install = r"^learn2learn is not installed; scripts/install_learn2learn.sh installs .*$"
    with pytest.raises(UserError, match=install):
        use()


def test_import_is_silent(l2l, capfd):
    assert learn2learn() is l2l
    assert l2l.__version__ == "0.2.0"
    assert capfd.readouterr() == ("", "")
