"""MAML++ against MAML, a plain loop over tasks, and its formulas."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
import torch.nn.functional as F
from problems import conv4, flat, gradient, images, mlp, parameters, set_parameters, sinusoids
from torch import Tensor

from mamlbench.algorithms import MAML, MAMLpp
from mamlbench.errors import BadValue
from mamlbench.networks.layers import Norm, Rows
from mamlbench.objectives import Classification, Regression

OFF = {
    "multi_step_epochs": 0,
    "per_step_rates": False,
    "per_step_affine": False,
    "per_step_statistics": False,
    "first_order_epochs": 0,
}
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def learner_of(network, objective=None, **options) -> MAMLpp:
    """A learner with all switches off except those named."""
    options = {"inner_lr": 0.1, "inner_steps": 3, **OFF, **options}
    return MAMLpp(network, objective or Classification(), **options).double()


# --- without its changes it is MAML ---------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"first_order": True}, {"learn_inner_lr": True}])
@pytest.mark.parametrize("norm", ["batch", "running"])
def test_with_all_switches_off_it_is_maml_bit_for_bit(norm, options):
    own, same = conv4(norm=norm), conv4(norm=norm)
    same.load_state_dict(own.state_dict())
    plus = learner_of(own, **options)
    plain = MAML(same, Classification(), inner_lr=0.1, inner_steps=3, **options).double()
    plus.task_chunk = plain.task_chunk = 2
    for seed in range(3):
        tasks = images(3, seed=seed)
        metrics, expected = plus.meta_step(tasks), plain.meta_step(tasks)
        assert metrics.keys() == expected.keys()
        assert all(torch.equal(values, metrics[name]) for name, values in expected.items())
    assert all(
        torch.equal(value, plus.state_dict()[name])
        for name, value in plain.state_dict().items()
        if torch.is_tensor(value)
    )
    for learner in (plus, plain):
        learner.eval()
    with torch.no_grad():
        outputs = [
            learner.predict(learner.adapt(tasks.support, 9), tasks.query.x)
            for learner in (plus, plain)
        ]
    assert torch.equal(*outputs)


# --- against a loop over tasks --------------------------------------------------------------------


def plain_outputs(params: dict[str, Tensor], norms: list[Tensor], x: Tensor) -> Tensor:
    """One task's outputs of an MLP with two hidden layers and batch norm, with one step's norms."""
    for layer in range(2):
        x = F.linear(x, params[f"hidden.{layer}.weight"], params[f"hidden.{layer}.bias"])
        weight, bias = norms[2 * layer : 2 * layer + 2]
        x = torch.tanh(F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-3))
    return F.linear(x, params["head.weight"], params["head.bias"])


def plain_loss(learner: MAMLpp, tasks, weights: list[float]) -> Tensor:
    """The outer loss, task after task; each tensor steps with its own rate."""
    own, total = dict(learner.network.named_parameters()), []
    for task in range(len(tasks)):
        params = {name: own[name] for name in learner.adapted_names}
        for step, weight in enumerate(weights):
            norms = [values[step] for values in learner.step_norms]
            outputs = plain_outputs(params, norms, tasks.support.x[task])
            loss = F.mse_loss(outputs, tasks.support.y[task])
            gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            for place, (name, g) in enumerate(zip(list(params), gradients, strict=True)):
                params[name] = params[name] - learner.rates[step, place] * g
            outputs = plain_outputs(params, norms, tasks.query.x[task])
            total.append(weight * F.mse_loss(outputs, tasks.query.y[task]))
    return sum(total) / len(tasks)


@pytest.mark.parametrize(
    ("outer_steps", "weights"),
    [
        (0, [1 / 3, 1 / 3, 1 / 3]),
        (7, [1 / 3 - 2 / 12, 1 / 3 - 2 / 12, 1 / 3 + 4 / 12]),  # epoch 2 of 4
        (12, [0.0, 0.0, 1.0]),
    ],
)
def test_meta_gradient_of_the_multi_step_loss(outer_steps, weights):
    """Multi-step loss, per-step rates and norms; the gradient in every meta-parameter."""
    network = mlp(norm="batch", affine="scale_shift")
    on = {"per_step_rates": True, "per_step_affine": True, "per_step_statistics": True}
    learner = learner_of(network, Regression(), multi_step_epochs=4, epoch_length=3, **on)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in (learner.rates, *learner.step_norms):
            p += 0.05 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    learner.outer_steps = outer_steps
    tasks = sinusoids(3)
    learner.meta_gradient(tasks)
    learned = [p for p in learner.parameters() if p.grad is not None]
    assert learner.rates in set(learned)
    assert len(learned) == 6 + 1 + 4  # the network without its own norms; rates; per-step norms
    expected = torch.autograd.grad(plain_loss(learner, tasks, weights), learned)
    for parameter, gradients in zip(learned, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradients, rtol=1e-8, atol=1e-11)


def test_norms_of_each_step_can_be_adapted_too():
    """Finite differences, with everything on."""
    on = {"per_step_rates": True, "per_step_affine": True, "per_step_statistics": True}
    learner = learner_of(conv4(), multi_step_epochs=2, adapt_norm=True, **on)
    tasks, at = images(2), parameters(learner)
    found = gradient(learner, tasks)
    assert (flat(p.grad for p in learner.step_norms) != 0).all()
    generator = torch.Generator().manual_seed(5)
    directions = torch.randn(5, len(at), generator=generator, dtype=at.dtype)
    for direction in directions:
        ends = []
        for sign in (1, -1):
            set_parameters(learner, at + sign * 1e-6 * direction)
            with torch.no_grad():
                ends.append(float(learner.meta_loss(tasks)[0].mean()))
        assert float(direction @ found) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_before_any_step_the_norms_are_those_of_the_first():
    network = mlp(norm="batch", affine="scale_shift")
    learner = learner_of(network, Regression(), per_step_affine=True)
    plain, tasks = copy.deepcopy(network), sinusoids(2)
    with torch.no_grad():
        for name, values in zip(learner.norm_names, learner.step_norms, strict=True):
            values += torch.arange(1.0, 4.0).unsqueeze(1)  # as if learned: 1, 2 and 3 more
            dict(plain.named_parameters())[name].copy_(values[0])
        found = learner.predict(learner.adapt(tasks.support), tasks.query.x, 0)
        torch.testing.assert_close(found[:, 0], plain(tasks.query.x, Rows()), **EXACT)


# --- annealing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "epochs", "expected"),
    [
        (0, 10, [0.2, 0.2, 0.2, 0.2, 0.2]),
        (5, 10, [0.1, 0.1, 0.1, 0.1, 0.6]),
        (9, 10, [0.02, 0.02, 0.02, 0.02, 0.92]),
        (10, 10, [0.0, 0.0, 0.0, 0.0, 1.0]),
        (1000, 10, [0.0, 0.0, 0.0, 0.0, 1.0]),
        (99, 100, [0.006, 0.006, 0.006, 0.006, 0.976]),  # 3% of 1/5 is left
        (0, 0, [0.0, 0.0, 0.0, 0.0, 1.0]),
    ],
)
def test_loss_weights(epoch, epochs, expected):
    learner = learner_of(mlp(), inner_steps=5, multi_step_epochs=epochs, epoch_length=7)
    for step in (7 * epoch, 7 * epoch + 6):
        learner.outer_steps = step
        assert learner.loss_weights() == pytest.approx(expected, rel=1e-12)
        assert sum(learner.loss_weights()) == pytest.approx(1)


def test_the_loss_weights_of_a_single_step():
    assert learner_of(mlp(), inner_steps=1, multi_step_epochs=10).loss_weights() == [1.0]


def test_gradients_are_of_first_order_until_their_epochs_are_over():
    network, tasks = conv4(), images(2)
    learner = learner_of(network, first_order_epochs=2, epoch_length=2)
    expected = {
        first_order: gradient(
            MAML(network, Classification(), inner_lr=0.1, inner_steps=3, first_order=first_order),
            tasks,
        )
        for first_order in (True, False)
    }
    assert not torch.allclose(expected[True], expected[False], rtol=1e-2)
    for step, first_order in ((0, True), (3, True), (4, False), (5, False)):
        learner.outer_steps = step
        torch.testing.assert_close(gradient(learner, tasks), expected[first_order], **EXACT)


def test_the_outer_rate_changes_with_each_epoch_alone():
    options = {"outer_lr": 0.01, "outer_schedule": "cosine", "outer_lr_final": 0.001}
    learner = learner_of(mlp(), Regression(), epoch_length=3, iterations=12, **options)
    rates = []
    for _ in range(14):
        rates.append(learner.optimizer.param_groups[0]["lr"])
        learner.meta_step(sinusoids(1))
    by_epoch = [0.001 + 0.009 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(5)]
    assert rates == pytest.approx([by_epoch[step // 3] for step in range(14)], rel=1e-12)


def test_a_resumed_learner_is_in_the_same_epoch():
    """Saved inside epoch 1, on which schedule, order of gradients and loss weights depend."""

    def made() -> MAMLpp:
        torch.manual_seed(0)
        on = {"per_step_rates": True, "per_step_affine": True, "per_step_statistics": True}
        schedule = {"outer_schedule": "cosine", "iterations": 6, "epoch_length": 2}
        return learner_of(conv4(), multi_step_epochs=2, first_order_epochs=1, **on, **schedule)

    def parts(learner: MAMLpp) -> dict:
        states = (learner, learner.optimizer, learner.scheduler)
        return {str(i): part.state_dict() for i, part in enumerate(states)}

    def in_bytes(learner: MAMLpp) -> bytes:
        torch.save(copy.deepcopy(parts(learner)), file := io.BytesIO())
        return file.getvalue()

    whole, half = made(), made()
    for seed in range(6):
        whole.meta_step(images(2, seed=seed))
    for seed in range(3):
        half.meta_step(images(2, seed=seed))
    saved = torch.load(io.BytesIO(in_bytes(half)), weights_only=True)
    resumed = made()
    for i, part in enumerate((resumed, resumed.optimizer, resumed.scheduler)):
        part.load_state_dict(saved[str(i)])
    assert resumed.epoch == 1
    for seed in range(3, 6):
        resumed.meta_step(images(2, seed=seed))
    assert in_bytes(resumed) == in_bytes(whole)


# --- statistics of each step ----------------------------------------------------------------------


def seen_by_norms(network, params: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The input of each norm of an MLP for one task, by F.linear and F.batch_norm."""
    inputs = []
    for layer in range(2):
        x = F.linear(x, params[f"hidden.{layer}.weight"], params[f"hidden.{layer}.bias"])
        inputs.append(x)
        weight, bias = (params[f"norm_layers.{layer}.{name}"] for name in ("weight", "bias"))
        x = torch.tanh(F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-3))
    return inputs


@pytest.mark.parametrize("chunk", [None, 1, 2])
@pytest.mark.parametrize("multi_step_epochs", [0, 5])
def test_the_statistics_of_each_step_by_hand(multi_step_epochs, chunk):
    """One outer step moves them a tenth towards the mean over tasks and passes at that step."""
    network = mlp(norm="batch", affine="scale_shift")
    learner = learner_of(
        network, Regression(), multi_step_epochs=multi_step_epochs, per_step_statistics=True
    )
    learner.task_chunk = chunk
    tasks = sinusoids(3)
    with torch.no_grad():
        adapted = learner.adapt(tasks.support).params
        steps = [{name: p.clone() for name, p in params.items()} for params in adapted]
    learner.meta_step(tasks)
    for step in range(3):
        passes = []
        for task in range(3):
            queried = multi_step_epochs > 0 or step == 2
            sides = [(step, tasks.support.x), *[(step + 1, tasks.query.x)] * queried]
            for after, x in sides:
                params = {
                    name: p[task] if name in learner.adapted_names else p
                    for name, p in steps[after].items()
                }
                passes.append(seen_by_norms(network, params, x[task]))
        for layer in range(2):
            means = torch.stack([seen[layer].mean(0) for seen in passes]).mean(0)
            variances = torch.stack([seen[layer].var(0, correction=0) for seen in passes]).mean(0)
            kept = (
                getattr(learner.statistics, f"{name}_{layer}")[step]
                for name in ("mean", "variance")
            )
            torch.testing.assert_close(next(kept), 0.1 * means, **EXACT)
            torch.testing.assert_close(next(kept), 0.9 + 0.1 * variances, **EXACT)


def test_statistics_that_are_only_recorded_change_nothing():
    """As in the official code: batch norm always uses the batch."""
    networks = conv4(), conv4()
    networks[1].load_state_dict(networks[0].state_dict())
    learners = [
        learner_of(network, per_step_statistics=on)
        for network, on in zip(networks, (True, False), strict=True)
    ]
    for learner in learners:
        for seed in range(2):
            learner.meta_step(images(3, seed=seed))
        learner.eval()
    states = [learner.network.state_dict() for learner in learners]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    tasks = images(2, seed=5)
    outputs = [
        learner.predict(learner.adapt(tasks.support, 4), tasks.query.x) for learner in learners
    ]
    assert torch.equal(*outputs)


def test_in_evaluation_each_step_normalises_by_its_own_statistics():
    """As the paper describes it, with norm=running; against a loop over tasks."""
    network = mlp(norm="running", affine="scale_shift")
    on = {"per_step_affine": True, "per_step_statistics": True}
    learner = learner_of(network, Regression(), **on)
    for seed in range(3):
        learner.meta_step(sinusoids(3, seed=seed))
    statistics = [
        [getattr(learner.statistics, f"{name}_{layer}") for name in ("mean", "variance")]
        for layer in range(2)
    ]
    assert not torch.allclose(statistics[0][0][0], statistics[0][0][2])
    before = copy.deepcopy(learner.state_dict())
    learner.eval()
    tasks = sinusoids(2, seed=9)
    with torch.no_grad():
        adapted = learner.adapt(tasks.support)

    def outputs(params: dict[str, Tensor], step: int, x: Tensor) -> Tensor:
        for layer, (means, variances) in enumerate(statistics):
            x = F.linear(x, params[f"hidden.{layer}.weight"], params[f"hidden.{layer}.bias"])
            weight, bias = (values[step] for values in list(learner.step_norms)[2 * layer :][:2])
            scale = weight / (variances[step] + 1e-3).sqrt()
            x = torch.tanh((x - means[step]) * scale + bias)
        return F.linear(x, params["head.weight"], params["head.bias"])

    own = dict(network.named_parameters())
    for task in range(2):
        params = {name: own[name] for name in learner.adapted_names}
        for step in range(3):
            loss = F.mse_loss(outputs(params, step, tasks.support.x[task]), tasks.support.y[task])
            gradients = torch.autograd.grad(loss, list(params.values()))
            params = {n: p - 0.1 * g for (n, p), g in zip(params.items(), gradients, strict=True)}
            found = learner.predict(adapted, tasks.query.x, step + 1)[task, 0]
            torch.testing.assert_close(found, outputs(params, step, tasks.query.x[task]), **EXACT)
    alone = learner.predict(adapted, tasks.query.x[:, :1])
    torch.testing.assert_close(alone, learner.predict(adapted, tasks.query.x)[:, :, :1], **EXACT)
    after = learner.state_dict()
    assert all(
        torch.equal(v, after[n]) if torch.is_tensor(v) else v == after[n] for n, v in before.items()
    )


def test_a_step_that_was_not_taken_leaves_no_statistics():
    network, tasks = conv4(), images(2)
    other = learner_of(copy.deepcopy(network), per_step_statistics=True)
    learner = learner_of(network, per_step_statistics=True)
    learner.meta_gradient(tasks)
    learner.meta_gradient(tasks)  # as after a loss that was not finite
    assert all((v == 0).all() for n, v in learner.statistics.named_buffers() if "mean" in n)
    learner.meta_step(tasks)
    other.meta_step(tasks)
    for (name, one), (_, two) in zip(
        learner.statistics.named_buffers(), other.statistics.named_buffers(), strict=True
    ):
        assert torch.equal(one, two), name
    assert not any(m._forward_pre_hooks for m in learner.modules() if isinstance(m, Norm))


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", ["per_step_rates", "per_step_affine"])
def test_more_steps_than_there_are_rates_or_norms_for(switch):
    learner = learner_of(mlp(norm="batch"), Regression(), **{switch: True})
    support = sinusoids(1).support
    assert len(learner.adapt(support, 3).params) == 4
    with pytest.raises(BadValue, match="inner_steps=4: accepted is 0 to 3: later steps have no"):
        learner.adapt(support, 4)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("multi_step_epochs", -1),
        ("first_order_epochs", -1),
        ("epoch_length", 0),
        ("inner_steps", 0),
        ("learn_inner_lr", True),
    ],
)
def test_bad_values_are_named(option, value):
    with pytest.raises(BadValue) as error:
        learner_of(mlp(), **{"per_step_rates": True, option: value})
    assert error.value.option == option
