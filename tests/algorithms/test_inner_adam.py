"""Adam's step, by the native kernel and by torch's operations, against its formula."""

from __future__ import annotations

import pytest
import runs
import torch

from mamlbench.algorithms import inner_adam
from mamlbench.algorithms.inner_adam import Moments

TASKS, LR = 3, 0.1


@pytest.fixture(autouse=True, params=["kernel", "formulas"])
def path(request, monkeypatch):
    torch.manual_seed(5)
    if request.param == "formulas":
        monkeypatch.setattr(inner_adam, "available", lambda x: False)
    else:
        runs.needing_kernels()


def problem(dtype=torch.float64):
    """Parameters and moments shared by all tasks, and gradients in another memory layout."""
    shapes = {"kernel": (4, 5, 3, 3), "bias": (4,), "large": (40_000,)}
    params = {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}
    gradient = {name: torch.randn(TASKS, *shape, dtype=dtype) for name, shape in shapes.items()}
    gradient["kernel"] = torch.randn(TASKS, 4, 3, 3, 5, dtype=dtype).permute(0, 1, 4, 2, 3)
    second = {name: torch.rand(shape, dtype=dtype) for name, shape in shapes.items()}
    params = {name: p.expand(TASKS, *p.shape) for name, p in params.items()}
    return params, gradient, second


def test_a_step_is_the_formula():
    params, gradient, second = problem()
    moved, moments = Moments(second, 6).step(params | {"other": torch.ones(1)}, gradient, LR)
    rate = LR * (1 - 0.999**7) ** 0.5
    for name, g in gradient.items():
        after = 0.999 * second[name] + 0.001 * g * g
        torch.testing.assert_close(moments.second[name], after, rtol=1e-13, atol=0)
        expected = params[name] - rate * g / (after.sqrt() + 1e-8)
        torch.testing.assert_close(moved[name], expected, rtol=1e-13, atol=1e-15)
    assert moments.steps == 7
    assert moved["other"].item() == 1.0


def test_a_second_step_starts_where_the_first_ended():
    params, gradient, second = problem()
    once, moments = Moments(second, 0).step(params, gradient, LR)
    before = {name: p.clone() for name, p in once.items()}
    twice, _ = moments.step(once, gradient, LR)
    for name, g in gradient.items():
        assert torch.equal(once[name], before[name])
        after = 0.999 * moments.second[name] + 0.001 * g * g
        expected = once[name] - LR * (1 - 0.999**2) ** 0.5 * g / (after.sqrt() + 1e-8)
        torch.testing.assert_close(twice[name], expected, rtol=1e-13, atol=1e-15)


def test_a_task_moves_alike_in_any_company():
    params, gradient, second = problem(torch.float32)
    together, _ = Moments(second, 0).step(params, gradient, LR)
    for task in range(TASKS):
        own = slice(task, task + 1)
        ours = ({n: p[own] for n, p in params.items()}, {n: g[own] for n, g in gradient.items()})
        alone, _ = Moments(second, 0).step(*ours, LR)
        for name in gradient:
            assert torch.equal(alone[name][0], together[name][task])


def test_a_step_in_float32_is_the_formula_to_rounding():
    params, gradient, _ = problem(torch.float32)
    nothing = {name: torch.zeros_like(p[0]) for name, p in params.items()}
    _, moments = Moments(nothing, 0).step(params, gradient, LR)
    for name, g in gradient.items():
        torch.testing.assert_close(moments.second[name], 0.001 * g * g, rtol=3e-7, atol=0)


def test_parameters_may_have_several_types():
    params, gradient, second = problem(torch.float32)
    double = [
        {n: v.double() if n == "bias" else v for n, v in each.items()}
        for each in (params, gradient, second)
    ]
    moved, _ = Moments(double[2], 0).step(double[0], double[1], LR)
    expected, _ = Moments(second, 0).step(params, gradient, LR)
    assert moved["bias"].dtype == torch.float64
    for name in gradient:
        torch.testing.assert_close(moved[name].float(), expected[name], rtol=1e-5, atol=1e-6)
