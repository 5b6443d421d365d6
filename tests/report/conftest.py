"""Fixtures with configs for the tests of reports."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import kept
import pytest


@pytest.fixture(scope="session")
def _sinusoid() -> dict[str, Any]:
    return kept.composed(*kept.SINUSOID)


@pytest.fixture
def sinusoid(_sinusoid: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """`sinusoid(training__iterations=5)`: the config of MAML's Table 2, with changes."""

    def changed(**values: Any) -> dict[str, Any]:
        config = copy.deepcopy(_sinusoid)
        for name, value in values.items():
            group, option = name.split("__")
            config[group][option] = value
        return config

    return changed
