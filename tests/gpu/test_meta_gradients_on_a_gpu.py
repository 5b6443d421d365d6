"""Meta-gradients of the papers' networks on a GPU, against float64."""

from __future__ import annotations

import pytest
import torch

from mamlbench.benchmark.rivals import Ours
from mamlbench.benchmark.works import WORKS
from mamlbench.hardware.device import Hardware

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def meta_gradient(name: str, hardware: Hardware) -> torch.Tensor:
    work = WORKS[name]
    hardware.apply(work.values)
    ours = Ours(work, hardware)
    for _ in range(4):  # replayed from the third step on
        gradient = ours.meta_gradient()
    return torch.cat([g.flatten() for g in gradient.values()]).double().cpu()


def test_float32_is_near_float64() -> None:
    """As on a CPU. In the larger works, rounding turns single ReLUs on or off on both."""
    short, exact = (meta_gradient("omniglot", Hardware("cuda", p)) for p in ("float32", "float64"))
    assert float((short - exact).norm() / exact.norm()) < 1e-4


def test_replayed_is_as_it_was_and_as_on_a_cpu() -> None:
    expected = meta_gradient("omniglot", Hardware("cpu", "float64"))
    for replay in (True, False):
        found = meta_gradient("omniglot", Hardware("cuda", "float64", replay=replay))
        assert float((found - expected).norm() / expected.norm()) < 1e-9
