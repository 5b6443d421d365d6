"""How queries are normalised, and the general path for any torch module."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from problems import F64, conv4, flat, images, mlp, relative_error, sinusoids
from torch import nn
from torch.func import functional_call

from mamlbench.algorithms import MAML, Adapted, Reptile
from mamlbench.networks import Conv4, Rows
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import Examples

CLOSE = {"rtol": 1e-11, "atol": 1e-13}


class PlainConv(nn.Module):
    """conv4 with stride 2 on even sides, in torch's layers; batch norm uses the current batch."""

    def __init__(self, ours: nn.Module) -> None:
        super().__init__()
        self.convs, self.norm_layers = nn.ModuleList(), nn.ModuleList()
        for conv, norm in zip(ours.convs, ours.norm_layers, strict=True):
            filters, inputs = conv.weight.shape[:2]
            self.convs.append(nn.Conv2d(inputs, filters, 3, 2))
            self.norm_layers.append(nn.BatchNorm2d(filters, norm.eps, track_running_stats=False))
        self.head = nn.Linear(*reversed(ours.head.weight.shape))
        self.double().load_state_dict(ours.state_dict())

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norm_layers, strict=True):
            x = torch.tanh(norm(conv(F.pad(x, (0, 1, 0, 1)))))
        return self.head(x.permute(0, 2, 3, 1).flatten(1))


def plain_mlp(ours: nn.Module) -> nn.Module:
    layers = []
    for linear in (*ours.hidden, ours.head):
        layers += [nn.Linear(*reversed(linear.weight.shape), dtype=F64), nn.Tanh()]
        layers[-2].load_state_dict(linear.state_dict())
    return nn.Sequential(*layers[:-1])


def of_task(params, names, task):
    """One task's own parameters."""
    return {name: value[task] if name in names else value for name, value in params.items()}


# --- normalising the queries ----------------------------------------------------------------------


def test_without_transduction_each_query_stands_with_the_whole_support_set():
    tasks, network = images(3), conv4()
    learner = MAML(network, Classification(), inner_lr=0.1, inner_steps=2)
    plain = PlainConv(network)
    with torch.no_grad():
        adapted = learner.adapt(tasks.support)
        found = learner.predict(adapted, tasks.query.x, transductive=False)
        assert found.shape == (3, 1, 9, 3)
        for task in range(3):
            own = of_task(adapted.params[-1], learner.adapted_names, task)
            for row in range(9):
                query = tasks.query.x[task, row : row + 1]
                batch = torch.cat([tasks.support.x[task], query])
                expected = functional_call(plain, own, (batch,))[-1]
                torch.testing.assert_close(found[task, 0, row], expected, **CLOSE)
            together = functional_call(plain, own, (tasks.query.x[task],))
            transductive = learner.predict(adapted, tasks.query.x)[task, 0]
            torch.testing.assert_close(transductive, together, **CLOSE)
    assert not torch.allclose(found, learner.predict(adapted, tasks.query.x), rtol=1e-3)


def test_without_transduction_no_query_sees_another():
    tasks = images(2)
    for norm in ("batch", "support", "group", "none"):
        learner = MAML(conv4(norm=norm), Classification(), inner_lr=0.1)
        adapted = learner.adapt(tasks.support)
        whole = learner.predict(adapted, tasks.query.x, transductive=False)
        one = learner.predict(adapted, tasks.query.x[:, 4:5], transductive=False)
        torch.testing.assert_close(whole[:, :, 4:5], one, **CLOSE)


@pytest.mark.parametrize("transductive", [True, False])
def test_support_norm_is_by_the_statistics_of_the_support_set(transductive):
    tasks, network = images(2), conv4(norm="support", blocks=1)
    learner = MAML(network, Classification(), inner_lr=0.1)
    with torch.no_grad():
        adapted = learner.adapt(tasks.support)
        found = learner.predict(adapted, tasks.query.x, transductive=transductive)
        norm = network.norm_layers[0]
        for task in range(2):
            own = of_task(adapted.params[-1], learner.adapted_names, task)
            support, query = (
                F.conv2d(F.pad(x, (0, 1, 0, 1)), own["convs.0.weight"], own["convs.0.bias"], 2)
                for x in (tasks.support.x[task], tasks.query.x[task])
            )
            mean = support.mean((0, 2, 3))
            variance = support.var((0, 2, 3), correction=0)
            y = F.batch_norm(query, mean, variance, norm.weight, norm.bias, eps=norm.eps)
            features = torch.tanh(y).permute(0, 2, 3, 1).flatten(1)
            expected = F.linear(features, own["head.weight"], own["head.bias"])
            torch.testing.assert_close(found[task, 0], expected, **CLOSE)


def test_running_norm_records_at_meta_steps_and_is_used_in_evaluation():
    tasks, network = images(3), conv4(norm="running", blocks=1)
    learner = MAML(network, Classification(), inner_lr=0.1, outer_lr=0.0)
    learner.meta_step(tasks)
    norm, conv = network.norm_layers[0], network.convs[0]
    maps = [
        F.conv2d(
            F.pad(torch.cat([tasks.support.x[t], tasks.query.x[t]]), (0, 1, 0, 1)),
            conv.weight,
            conv.bias,
            2,
        )
        for t in range(3)
    ]
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variance = torch.stack([m.var((0, 2, 3), correction=0) for m in maps]).mean(0)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean, **CLOSE)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * variance, **CLOSE)

    learner.eval()
    with torch.no_grad():
        adapted = learner.adapt(tasks.support)
        found = learner.predict(adapted, tasks.query.x)
        own = of_task(adapted.params[-1], learner.adapted_names, 1)
        y = F.conv2d(
            F.pad(tasks.query.x[1], (0, 1, 0, 1)), own["convs.0.weight"], own["convs.0.bias"], 2
        )
        y = F.batch_norm(
            y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
        features = torch.tanh(y).permute(0, 2, 3, 1).flatten(1)
        expected = F.linear(features, own["head.weight"], own["head.bias"])
        torch.testing.assert_close(found[1, 0], expected, **CLOSE)


@pytest.mark.parametrize("norm", ["batch", "running", "support"])
@pytest.mark.parametrize("algorithm", [MAML, Reptile])
def test_adapting_and_predicting_leave_the_learner_as_it_was(algorithm, norm):
    tasks = images(2)
    learner = algorithm(conv4(norm=norm), Classification(), inner_steps=2).double()
    learner.meta_step(tasks)
    before = {name: torch.as_tensor(0) for name in learner.state_dict()}
    before |= {n: v.clone() for n, v in learner.state_dict().items() if torch.is_tensor(v)}
    for training in (True, False):
        learner.train(training)
        adapted = learner.adapt(tasks.support, 3)
        learner.predict(adapted, tasks.query.x, transductive=training)
    for name, value in learner.state_dict().items():
        if torch.is_tensor(value):
            assert torch.equal(value, before[name])
        elif name.endswith("_extra_state"):
            assert value == {"moment_steps": 2}


# --- any torch module -----------------------------------------------------------------------------


@pytest.mark.parametrize("adapt_norm", [False, True])
@pytest.mark.parametrize("first_order", [False, True])
def test_general_path_on_images(first_order, adapt_norm):
    tasks, network = images(3), conv4()
    plain, found = PlainConv(network), {}
    for name, module in (("ours", network), ("plain", plain)):
        learner = MAML(
            module,
            Classification(),
            inner_lr=0.1,
            inner_steps=2,
            first_order=first_order,
            adapt_norm=adapt_norm,
        )
        learner.meta_gradient(tasks)
        found[name] = {n: p.grad for n, p in module.named_parameters()}
    assert found["ours"].keys() == found["plain"].keys()
    ours, theirs = (flat(found[key][n] for n in found["ours"]) for key in ("ours", "plain"))
    assert relative_error(theirs, ours) < 1e-11


def test_general_path_on_sinusoids_and_with_reptile():
    tasks, network = sinusoids(3), mlp()
    for algorithm in (MAML, Reptile):
        found = []
        for module in (network, plain_mlp(network)):
            learner = algorithm(module, Regression(), inner_lr=0.05, inner_steps=3).double()
            learner.meta_gradient(tasks)
            found.append(flat(p.grad for p in module.parameters()))
        assert relative_error(*found) < 1e-11


def test_general_path_predicts_each_query_with_the_support_set():
    tasks, network = images(2), conv4()
    answers = []
    for module in (network, PlainConv(network)):
        learner = MAML(module, Classification(), inner_lr=0.1)
        adapted = learner.adapt(tasks.support)
        answers.append(learner.predict(adapted, tasks.query.x, transductive=False).detach())
    torch.testing.assert_close(*answers, **CLOSE)


def test_rows_of_two_batches_are_normalised_apart():
    tasks, network = images(1), conv4()
    halves = torch.cat([tasks.query.x[:, :4], tasks.query.x[:, 4:8]], dim=1)
    both = network(halves, Rows(groups=2))
    each = [network(part, Rows()) for part in (halves[:, :4], halves[:, 4:])]
    torch.testing.assert_close(both, torch.cat(each, dim=1), **CLOSE)


@pytest.mark.parametrize("norm", ["batch", "support"])
@pytest.mark.parametrize("transductive", [True, False])
def test_particles_predict_as_each_would_alone(norm, transductive):
    """Parameters [T*P, ...] give [T, P, M, C], a task's particles next to each other."""
    torch.manual_seed(0)
    network = Conv4((1, 6, 6), 3, filters=4, blocks=2, norm=norm).double()
    learner = MAML(network, Classification())
    support, query = (
        Examples(torch.rand(2, 6, 1, 6, 6).double(), torch.arange(6).remainder(3).expand(2, 6))
        for _ in range(2)
    )
    own = dict(network.named_parameters())
    params = {n: p.detach() + 0.1 * torch.randn(2, 3, *p.shape).double() for n, p in own.items()}
    merged = {name: values.flatten(0, 1) for name, values in params.items()}
    together = learner.predict(
        Adapted([merged], support, particles=3), query.x, transductive=transductive
    )
    assert together.shape == (2, 3, 6, 3)
    for particle in range(3):
        one = {name: values[:, particle] for name, values in params.items()}
        alone = learner.predict(Adapted([one], support), query.x, transductive=transductive)
        torch.testing.assert_close(together[:, particle], alone[:, 0])
