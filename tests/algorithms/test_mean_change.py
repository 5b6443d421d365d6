"""The mean change by the kernel and by torch's operations, against the formula."""

from __future__ import annotations

from itertools import pairwise

import pytest
import runs
import torch

from mamlbench.algorithms import mean_change as module
from mamlbench.algorithms.mean_change import mean_change

F64 = torch.float64


@pytest.fixture(autouse=True, params=["kernel", "formulas"])
def path(request, monkeypatch):
    torch.manual_seed(7)
    if request.param == "formulas":
        monkeypatch.setattr(module, "available", lambda x: False)
    else:
        runs.needing_kernels()


def paths(tasks: int, steps: int) -> list[dict[str, torch.Tensor]]:
    """Parameters in several orders of memory, and the ones before them that all tasks share."""
    first = {"kernel": torch.randn(4, 5, 3, 3, dtype=F64), "large": torch.randn(9000, dtype=F64)}
    found = [{name: p.expand(tasks, *p.shape) for name, p in first.items()}]
    for _ in range(steps):
        turned = torch.randn(4, 3, 3, 5, tasks, dtype=F64).permute(4, 0, 3, 1, 2)
        found.append({"kernel": turned, "large": torch.randn(tasks, 9000, dtype=F64)})
    found[-1]["kernel"] = torch.randn(tasks, 4, 3, 3, 5, dtype=F64).permute(0, 1, 4, 2, 3)
    return found


@pytest.mark.parametrize("tasks", [1, 3])
def test_it_is_where_all_began_less_where_each_ended(tasks):
    params = paths(tasks, 2)
    for names in (["kernel", "large"], ["large"]):
        changes = mean_change(params, names, None, 4)
        assert list(changes) == names
        for name, change in changes.items():
            expected = (params[0][name] - params[-1][name]).sum(0) / 4
            torch.testing.assert_close(change, expected, rtol=1e-12, atol=1e-13)


def test_ends_in_any_order_of_memory():
    params = paths(3, 2)[:2]
    change = mean_change(params, ["kernel"], None, 3)["kernel"]
    expected = (params[0]["kernel"] - params[1]["kernel"]).mean(0)
    torch.testing.assert_close(change, expected, rtol=1e-12, atol=1e-13)


def test_each_step_has_its_weight():
    params = paths(3, 2)
    for name, change in mean_change(params, ["kernel", "large"], (2.0, 0.5), 3).items():
        steps = [p[name] - q[name] for p, q in pairwise(params)]
        expected = (2.0 * steps[0] + 0.5 * steps[1]).mean(0)
        torch.testing.assert_close(change, expected, rtol=1e-12, atol=1e-13)


def test_no_step_is_no_change():
    params = paths(3, 0)
    params[0] = {n: p.clone().expand(3, *p.shape[1:]) for n, p in paths(1, 0)[0].items()}
    for change in mean_change(params, ["kernel", "large"], None, 3).values():
        assert not change.any()
