from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_networks():
    torch.manual_seed(2)
