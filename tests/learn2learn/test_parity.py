"""Our MAML against learn2learn's, each on its own layers: the same meta-gradient up to rounding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamlbench.algorithms import MAML, Learn2LearnMAML
from mamlbench.datasets import Sinusoid
from mamlbench.networks import MLP, Conv4
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import Examples, TaskBatch

INNER_LR = {"sinusoid": 0.01, "omniglot": 0.4}
TOLERANCE = 1e-10
F64 = torch.float64


class TorchConv4(nn.Module):
    """Conv4 in torch's own layers; with `outside`, its norms are hidden from learn2learn."""

    def __init__(self, ours: Conv4, down: str, affine: bool, outside: bool) -> None:
        super().__init__()
        self.stride = 2 if down == "stride" else 1
        self.convs = nn.ModuleList()
        norms = nn.ModuleList()
        for conv, norm in zip(ours.convs, ours.norm_layers, strict=True):
            filters, inputs = conv.weight.shape[:2]
            self.convs.append(nn.Conv2d(inputs, filters, 3, self.stride, dtype=F64))
            self.convs[-1].load_state_dict(conv.state_dict())
            norms.append(
                nn.BatchNorm2d(
                    filters, norm.eps, affine=affine, track_running_stats=False, dtype=F64
                )
            )
            norms[-1].load_state_dict(norm.state_dict())
        self.head = nn.Linear(*reversed(ours.head.weight.shape), dtype=F64)
        self.head.load_state_dict(ours.head.state_dict())
        self.outside = (norms,) if outside else ()
        if not outside:
            self.norm_layers = norms

    def forward(self, x: Tensor) -> Tensor:
        norms = self.outside[0] if self.outside else self.norm_layers
        for conv, norm in zip(self.convs, norms, strict=True):
            before = 0 if self.stride == 2 and x.shape[-1] % 2 == 0 else 1
            x = F.relu(norm(conv(F.pad(x, (before, 1, before, 1)))))
            x = x if self.stride == 2 else F.max_pool2d(x, 2)
        return self.head(x.permute(0, 2, 3, 1).flatten(1))  # our maps are channels last

    def all_parameters(self) -> dict[str, Tensor]:
        hidden = {f"norm_layers.{n}": p for o in self.outside for n, p in o.named_parameters()}
        return dict(self.named_parameters()) | hidden


def torch_mlp(ours: MLP) -> nn.Sequential:
    layers: list[nn.Module] = []
    for linear in (*ours.hidden, ours.head):
        layers += [nn.Linear(*reversed(linear.weight.shape), dtype=F64), nn.ReLU()]
        layers[-2].load_state_dict(linear.state_dict())
    return nn.Sequential(*layers[:-1])


def sinusoids(tasks: int) -> TaskBatch:
    batch = Sinusoid(shots=5, queries=10).sample("train", 0, 0, tasks)
    sides = (Examples(side.x.double(), side.y.double()) for side in (batch.support, batch.query))
    return TaskBatch(*sides)


def images(tasks: int, size: int = 28, ways: int = 5) -> TaskBatch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, tasks, 2 * ways, 1, size, size, generator=generator, dtype=F64)
    y = torch.arange(2 * ways).remainder(ways).expand(tasks, -1)
    return TaskBatch(Examples(x[0], y), Examples(x[1], y))


@pytest.fixture(autouse=True)
def _same_networks():
    torch.manual_seed(2)


def vary(network: nn.Module) -> nn.Module:
    """Move every parameter from its initial value: biases of 0 and scales of 1 hide mistakes."""
    network = network.double()
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1 * torch.randn_like(p)
    return network


def peers_gradient(l2l, network, named, loss, tasks, lr, steps, first_order) -> dict[str, Tensor]:
    """The gradient from the loop of learn2learn's own examples, a mean over tasks."""
    maml = l2l.algorithms.MAML(network, lr=lr, first_order=first_order)
    for task in range(len(tasks)):
        learner = maml.clone()
        for _ in range(steps):
            learner.adapt(loss(learner(tasks.support.x[task]), tasks.support.y[task]))
        error = loss(learner(tasks.query.x[task]), tasks.query.y[task])
        (error / len(tasks)).backward()
    return {name: p.grad for name, p in named.items()}


def relative_error(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    mine = torch.cat([ours[name].detach().flatten() for name in theirs])
    other = torch.cat([theirs[name].detach().flatten() for name in theirs])
    return float((mine - other).norm() / other.norm())


def gradient(learner: nn.Module, tasks: TaskBatch) -> dict[str, Tensor]:
    learner.meta_gradient(tasks)
    return {name: p.grad for name, p in learner.network.named_parameters()}


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_meta_gradient_on_sinusoids(l2l, steps, first_order):
    tasks, lr = sinusoids(4), INNER_LR["sinusoid"]
    ours = vary(MLP((1,), 1))
    theirs = torch_mlp(ours)
    names = [name for name, _ in ours.named_parameters()]
    named = dict(zip(names, theirs.parameters(), strict=True))
    expected = peers_gradient(l2l, theirs, named, F.mse_loss, tasks, lr, steps, first_order)
    maml = MAML(ours, Regression(), inner_lr=lr, inner_steps=steps, first_order=first_order)
    assert relative_error(gradient(maml, tasks), expected) < TOLERANCE


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("adapt_norm", [False, True])
@pytest.mark.parametrize("down", ["stride", "pool"])
def test_meta_gradient_of_conv4_with_batch_norm(l2l, down, adapt_norm, steps, first_order):
    tasks, lr = images(2), INNER_LR["omniglot"]
    ours = vary(Conv4((1, 28, 28), 5, filters=4, down=down, affine="scale_shift"))
    theirs = TorchConv4(ours, down, affine=True, outside=not adapt_norm)
    expected = peers_gradient(
        l2l, theirs, theirs.all_parameters(), F.cross_entropy, tasks, lr, steps, first_order
    )
    maml = MAML(
        ours,
        Classification(),
        inner_lr=lr,
        inner_steps=steps,
        first_order=first_order,
        adapt_norm=adapt_norm,
    )
    assert relative_error(gradient(maml, tasks), expected) < TOLERANCE


def test_second_order_matters_here(l2l):
    """The comparison tells the two orders apart by far more than its tolerance."""
    tasks, lr = images(2), INNER_LR["omniglot"]
    ours = vary(Conv4((1, 28, 28), 5, filters=4, affine="none"))
    theirs = TorchConv4(ours, "stride", affine=False, outside=False)
    expected = peers_gradient(
        l2l, theirs, theirs.all_parameters(), F.cross_entropy, tasks, lr, 1, True
    )
    maml = MAML(ours, Classification(), inner_lr=lr, inner_steps=1)
    assert relative_error(gradient(maml, tasks), expected) > 1e-3


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("adapt_norm", [False, True])
def test_learn2learn_in_our_runner_learns_the_same(l2l, adapt_norm, first_order):
    """Parameters after three outer steps, and every inner step of an adaptation, agree."""
    tasks, learners = images(3, size=8), []
    options = {"inner_lr": 0.4, "inner_steps": 2, "outer_lr": 0.01, "outer_optimizer": "sgd"}
    for algorithm in (MAML, Learn2LearnMAML):
        torch.manual_seed(2)
        network = vary(Conv4((1, 8, 8), 5, filters=4, blocks=2, affine="scale_shift"))
        learner = algorithm(
            network, Classification(), first_order=first_order, adapt_norm=adapt_norm, **options
        )
        metrics = [learner.meta_step(tasks) for _ in range(3)]
        with torch.no_grad():
            adapted = learner.adapt(tasks.support, steps=4)
        learners.append((learner, metrics, adapted))
    (ours, our_metrics, our_adapted), (theirs, their_metrics, their_adapted) = learners
    assert relative_error(dict(ours.named_parameters()), dict(theirs.named_parameters())) < 1e-10
    assert our_metrics[-1].keys() == their_metrics[-1].keys()
    for mine, other in zip(our_metrics, their_metrics, strict=True):
        torch.testing.assert_close(mine["loss"], other["loss"], rtol=1e-10, atol=0)
    assert len(their_adapted.params) == 5
    for mine, other in zip(our_adapted.params, their_adapted.params, strict=True):
        assert relative_error(mine, other) < 1e-10
        assert {n: p.shape for n, p in mine.items()} == {n: p.shape for n, p in other.items()}
    assert not any(p.requires_grad for p in their_adapted.params[-1].values() if p.dim() > 2)


def test_support_gathered_at_each_inner_step(l2l):
    """A support set that is a function of the step and of the parameters so far."""
    tasks, asked = sinusoids(2), []

    class Growing:
        def __len__(self):
            return 2

        def __call__(self, step, params):
            asked.append((step, params["head.bias"].detach().clone()))
            return Examples(tasks.support.x[:, : step + 1], tasks.support.y[:, : step + 1])

    results = []
    for algorithm in (MAML, Learn2LearnMAML):
        torch.manual_seed(2)
        learner = algorithm(vary(MLP((1,), 1)), Regression(), inner_lr=0.1, inner_steps=3)
        results.append(learner.adapt(Growing()).params[-1])
    assert relative_error(*results) < 1e-10
    assert [step for step, _ in asked] == [0, 1, 2, 0, 1, 2]
    for (_, mine), (_, other) in zip(asked[:3], asked[3:], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=0)
