import sys
from pathlib import Path

import pytest

# tiny_env has to be found by name, by the worker processes too
HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def tiny_env_is_importable(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    assert HERE in sys.path
