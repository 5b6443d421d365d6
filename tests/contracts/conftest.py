from __future__ import annotations

import pytest
from registered import Problem


@pytest.fixture(params=["regression", "classification"])
def problem(request) -> Problem:
    return Problem(request.param)
