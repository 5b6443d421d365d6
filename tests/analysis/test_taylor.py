"""Reptile's Taylor coefficients, measured on the implementations."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
import torch
from torch import nn

from mamlbench.algorithms import Reptile
from mamlbench.analysis import TaylorStudy
from mamlbench.analysis.taylor import Draws
from mamlbench.errors import BadValue
from mamlbench.objectives import Regression
from mamlbench.tasks import TaskBatch

SMALL = {"tasks": 2, "minibatches": 3, "examples": 4, "hidden": (6,)}
STEPS = (0.00025, 0.0005, 0.001, 0.002, 0.004)


@pytest.fixture(scope="module")
def measured():
    study = TaylorStudy("unused", STEPS, (2, 3, 4), seed=3, **SMALL)
    return {(result.algorithm, result.k): result for result in study.measure()}


# arXiv 1803.02999, equations 23 to 25 and their forms for k mini-batches
@pytest.mark.parametrize(
    ("algorithm", "k", "average", "inner"),
    [
        ("MAML", 2, 1, 2),
        ("MAML", 3, 1, 4),
        ("MAML", 4, 1, 6),
        ("FOMAML", 2, 1, 1),
        ("FOMAML", 3, 1, 2),
        ("FOMAML", 4, 1, 3),
        ("Reptile", 2, 2, 1),
        ("Reptile", 3, 3, 3),
        ("Reptile", 4, 4, 6),
    ],
)
def test_coefficients_of_the_paper(measured, algorithm, k, average, inner):
    result = measured[algorithm, k]
    assert result.predicted == (average, inner)
    assert result.measured[0] == pytest.approx(average, rel=1e-5)
    assert result.measured[1] == pytest.approx(inner, rel=1e-3)
    assert result.off[0] < 1e-4  # the whole vectors agree, not only their projections
    assert result.off[1] < 2e-3


def test_remainder_is_of_second_order(measured):
    for result in measured.values():
        assert result.remainder[0] / result.remainder[1] == pytest.approx(1 / 4, rel=0.05)


def test_average_terms_against_autograd_over_all_pairs():
    study = TaylorStudy("unused", STEPS, (2,), seed=1, **SMALL)
    linears = [study.network.hidden[0], study.network.head]
    flat = torch.cat([p.detach().reshape(-1) for p in study.network.parameters()])

    def loss(theta, x, y):
        for number, linear in enumerate(linears):
            outputs, inputs = linear.weight.shape
            weight, bias, theta = theta.split(
                [inputs * outputs, outputs, len(theta) - outputs * (inputs + 1)]
            )
            x = x @ weight.view(outputs, inputs).T + bias
            x = torch.tanh(x) if number == 0 else x
        return nn.functional.mse_loss(x, y)

    first, inner = [], []
    for task in range(2):
        sides = [(study.x[task, i], study.y[task, i]) for i in range(3)]
        gradients = [torch.func.grad(loss)(flat, *side) for side in sides]
        hessians = [torch.func.jacrev(torch.func.grad(loss))(flat, *side) for side in sides]
        first += gradients
        inner += [h @ g for h, g in itertools.product(hessians, gradients)]
    average_grad, average_grad_inner = study.average_terms()
    torch.testing.assert_close(average_grad, torch.stack(first).mean(0), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        average_grad_inner, torch.stack(inner).mean(0), rtol=1e-10, atol=1e-12
    )


def test_draws_are_all_ordered_ways():
    x = torch.arange(2 * 3).double().view(2, 3, 1, 1)
    draws = Draws.every(x, x, 2)
    pairs = list(zip(draws(0).x.flatten().tolist(), draws(1).x.flatten().tolist(), strict=True))
    assert sorted(pairs) == [
        *itertools.product([0.0, 1.0, 2.0], repeat=2),
        *itertools.product([3.0, 4.0, 5.0], repeat=2),
    ]
    assert len(draws[4:7]) == 3
    assert torch.equal(draws[4:7](1).x, draws(1).x[4:7])


@pytest.mark.parametrize("k", [2, 3])
def test_shared_tail_of_reptile_is_first_order_maml(k):
    study = TaylorStudy("unused", STEPS, (k,), seed=1, **SMALL)
    expected = study.meta_gradient("FOMAML", k, 0.01)
    draws = Draws.every(study.x, study.y, k)
    reptile = Reptile(
        study.network,
        Regression(),
        inner_lr=0.01,
        inner_steps=k,
        inner_optimizer="sgd",
        inner_batch=None,
        tail="shared",
    )
    reptile.meta_gradient(TaskBatch(draws, draws(k - 1)))
    found = torch.cat([p.grad.reshape(-1) for p in study.network.parameters()]) / 0.01
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_run_prints_and_writes_what_it_measured(tmp_path, capsys):
    results = TaylorStudy(str(tmp_path / "study"), STEPS, (2,), seed=3, **SMALL).run()
    table = pd.read_csv(tmp_path / "study" / "reptile_taylor.csv")
    assert table["algorithm"].tolist() == ["MAML", "FOMAML", "Reptile"]
    assert table["avg_grad_inner_predicted"].tolist() == [2.0, 1.0, 1.0]
    assert table["avg_grad_inner_measured"].tolist() == [r.measured[1] for r in results]
    assert (tmp_path / "study" / "reptile_taylor.png").read_bytes()[1:4] == b"PNG"
    printed = capsys.readouterr().out
    assert f"{results[1].measured[1]:.6f}" in printed


def test_study_leaves_the_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    TaylorStudy("unused", seed=5)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("inner_lrs", (0.1, 0.2)),
        ("inner_lrs", (0.1, 0.1, 0.2)),
        ("inner_lrs", (-0.1, 0.1, 0.2)),
        ("ks", (1,)),
        ("ks", ()),
        ("tasks", 0),
        ("minibatches", 1),
        ("seed", -1),
    ],
)
def test_bad_values_are_named(option, value):
    with pytest.raises(BadValue) as error:
        TaylorStudy("unused", **{option: value})
    assert error.value.option == option
