"""learn2learn for the tests: skipped where it is missing, but never under CI."""

from __future__ import annotations

import os
from types import ModuleType

import pytest

from mamlbench.errors import UserError
from mamlbench.learn2learn_import import learn2learn


@pytest.fixture(scope="session")
def l2l() -> ModuleType:
    try:
        return learn2learn()
    except UserError as error:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"CI is set, and {error}")
        pytest.skip(str(error))
