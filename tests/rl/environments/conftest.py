import sys
from pathlib import Path

import pytest

# worker processes, too, must be able to import tiny_env by name
HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def tiny_env_is_importable(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    assert HERE in sys.path
