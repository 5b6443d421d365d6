"""Reptile against steps worked out by hand, and the official loop rewritten in plain torch."""

from __future__ import annotations

import pytest
import runs
import torch
import torch.nn.functional as F
from problems import F64, conv4, flat, gradient, images, mlp, parameters, relative_error, sinusoids
from torch import Tensor, nn

from mamlbench.algorithms import MAML, Joint, NonFiniteError, Reptile
from mamlbench.algorithms.minibatches import minibatches
from mamlbench.compose import experiment
from mamlbench.errors import BadValue, UserError
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import Examples, TaskBatch

SGD = {"inner_optimizer": "sgd", "inner_lr": 0.05, "inner_batch": 4, "outer_optimizer": "sgd"}


def line(w: float = 0.0, b: float = 0.0) -> nn.Module:
    """The network y = w x + b."""
    network = mlp(hidden=())
    with torch.no_grad():
        network.head.weight.fill_(w)
        network.head.bias.fill_(b)
    return network


def slopes(*gradients: float) -> Examples:
    """Tasks of one point each where dL/db = g and dL/dw = 0 at b = 0: x = 0 and y = -g/2."""
    y = torch.tensor(gradients, dtype=F64).view(-1, 1, 1) / -2
    return Examples(torch.zeros_like(y), y)


# --- one inner step -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "tasks", "objective"),
    [(mlp, sinusoids, Regression()), (conv4, images, Classification())],
)
def test_one_inner_step_is_a_step_of_joint_training(network, tasks, objective):
    """With k = 1 Reptile is SGD on the expected loss, with rate outer_lr * inner_lr."""
    batch, start = tasks(3), network()
    nothing = Examples(batch.query.x[:, :0], batch.query.y[:, :0])
    joint = Joint(start, objective, outer_optimizer="sgd", outer_lr=0.25 * 0.05)
    before = parameters(start)
    joint.meta_step(TaskBatch(batch.support, nothing))
    expected = parameters(start) - before

    nn.utils.vector_to_parameters(before.clone(), start.parameters())
    options = SGD | {"inner_batch": None, "inner_steps": 1, "adapt_norm": True, "outer_lr": 0.25}
    Reptile(start, objective, **options).meta_step(batch)
    assert relative_error(parameters(start) - before, expected) < 1e-12


# --- Adam's moments -------------------------------------------------------------------------------


def tf_adam(gradient_of, b: float, steps: int, v: float, count: int, lr: float):
    """TensorFlow's Adam with beta1 = 0: b, v and the count after `steps` steps."""
    for _ in range(steps):
        g = gradient_of(b)
        count += 1
        v = 0.999 * v + 0.001 * g * g
        b -= lr * (1 - 0.999**count) ** 0.5 * g / (v**0.5 + 1e-8)
    return b, v, count


def test_two_steps_of_adam_by_hand():
    """L = (b + 1)², b = 0, rate 0.1: both steps have nearly the length of the rate."""
    learner = Reptile(line(), Regression(), inner_lr=0.1, inner_steps=2, inner_batch=None)
    end = learner.adapt(slopes(2.0)).params
    # v1 = 0.001 * 2² = 0.004, and sqrt(1 - 0.999) 2 / sqrt(0.004) = 1
    assert end[1]["head.bias"].item() == pytest.approx(-0.1, rel=1e-6)
    # g2 = 2 (1 - 0.1) = 1.8, v2 = 0.999 * 0.004 + 0.001 * 3.24 = 0.007236
    second = 0.1 * (1 - 0.999**2) ** 0.5 * 1.8 / 0.007236**0.5
    assert end[2]["head.bias"].item() == pytest.approx(-0.1 - second, rel=1e-6)
    assert end[2]["head.weight"].item() == 0.0


def test_epsilon_stands_by_the_uncorrected_root():
    """For a gradient near epsilon the placement matters: TensorFlow's makes a shorter step."""
    g = 1e-7
    learner = Reptile(line(), Regression(), inner_lr=0.1, inner_steps=1, inner_batch=None)
    step = -learner.adapt(slopes(g)).params[-1]["head.bias"].item()
    root = (0.001 * g * g) ** 0.5
    assert step == pytest.approx(0.1 * 0.001**0.5 * g / (root + 1e-8), rel=1e-9)
    assert step != pytest.approx(0.1 * g / (root / 0.001**0.5 + 1e-8), rel=0.1)  # torch's


@pytest.mark.parametrize("moments", ["serial", "shared", "fresh"])
def test_moments_carried_over_tasks_and_meta_steps(moments):
    """Two meta-steps of two tasks, L = (b + g/2)², worked out on plain numbers."""
    steps, lr, outer, gradients = 2, 0.1, 0.5, (2.0, -1.0)
    learner = Reptile(
        line(),
        Regression(),
        inner_lr=lr,
        inner_steps=steps,
        inner_batch=None,
        moments=moments,
        outer_lr=outer,
        outer_optimizer="sgd",
    )
    tasks = TaskBatch(slopes(*gradients), slopes(*gradients))
    b, v, count = 0.0, 0.0, 0
    for _ in range(2):
        ends, v_ends, count_end = [], [], count
        for g in gradients:
            start = {"serial": (v, count), "shared": (v, count), "fresh": (0.0, 0)}[moments]
            end, v_end, count_end = tf_adam(lambda at, g=g: 2 * at + g, b, steps, *start, lr)
            ends.append(end)
            v_ends.append(v_end)
            if moments == "serial":
                v, count = v_end, count_end
        if moments == "shared":
            v, count = sum(v_ends) / 2, count_end
        b += outer * (sum(ends) / 2 - b)
        learner.meta_step(tasks)
        assert learner.network.head.bias.item() == pytest.approx(b, rel=1e-12)
    expected = {"serial": 8, "shared": 4, "fresh": 0}[moments]
    assert learner.moment_steps == expected
    if moments != "fresh":
        bias = learner.adapted_names.index("head.bias")
        assert learner.get_buffer(f"moment_{bias}").item() == pytest.approx(v, rel=1e-12)


@pytest.mark.parametrize("moments", ["serial", "shared", "fresh"])
def test_a_test_goes_on_from_the_moments_of_the_training(moments):
    """As in the official code, whose optimiser keeps its slots; with `fresh`, from 0."""
    options = {"inner_lr": 0.1, "inner_steps": 2, "inner_batch": None, "moments": moments}
    learner = Reptile(line(), Regression(), **options, outer_lr=0.5, outer_optimizer="sgd")
    learner.meta_step(TaskBatch(slopes(2.0, -1.0), slopes(2.0, -1.0)))
    begin = learner.network.head.bias.item()
    slot = learner.get_buffer(f"moment_{learner.adapted_names.index('head.bias')}").item()
    learner.eval()
    for _ in range(2):  # a test does not change the moments
        found = learner.adapt(slopes(3.0)).params[-1]["head.bias"].item()
        expected, _, _ = tf_adam(lambda b: 2 * b + 3.0, begin, 2, slot, learner.moment_steps, 0.1)
        assert found == pytest.approx(expected, rel=1e-12)
    assert (slot > 0) is (moments != "fresh")


# --- the official loop ----------------------------------------------------------------------------


class OfficialLoop:
    """openai/supervised-reptile's train_step: restore the weights for each task, not the slots."""

    def __init__(self, network: nn.Module, loss, lr: float) -> None:
        self.network, self.loss, self.lr = network, loss, lr
        self.slots = [torch.zeros_like(p) for p in network.parameters()]
        self.count = 0

    def minimize(self, x: Tensor, y: Tensor) -> None:
        values = list(self.network.parameters())
        gradients = torch.autograd.grad(self.loss(self.network(x), y), values)
        self.count += 1
        with torch.no_grad():
            for value, slot, g in zip(values, self.slots, gradients, strict=True):
                slot.copy_(0.999 * slot + 0.001 * g * g)
                value -= self.lr * (1 - 0.999**self.count) ** 0.5 * g / (slot.sqrt() + 1e-8)

    def train_step(self, tasks: list[list[tuple[Tensor, Tensor]]], epsilon: float, foml: bool):
        old = [p.detach().clone() for p in self.network.parameters()]
        new = []
        for batches in tasks:
            for batch in batches:
                last = [p.detach().clone() for p in self.network.parameters()]
                self.minimize(*batch)
            ends = [p.detach().clone() for p in self.network.parameters()]
            # first-order MAML: only what the last step changed
            new.append(
                [o + e - b for o, e, b in zip(old, ends, last, strict=True)] if foml else ends
            )
            self.restore(old)
        mean = [torch.stack(values).mean(0) for values in zip(*new, strict=True)]
        self.restore([o + epsilon * (m - o) for o, m in zip(old, mean, strict=True)])

    def restore(self, values) -> None:
        with torch.no_grad():
            for p, value in zip(self.network.parameters(), values, strict=True):
                p.copy_(value)


class PlainConv(nn.Module):
    def __init__(self, ours: nn.Module) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 3, 3, 2), nn.Conv2d(3, 3, 3, 2)])
        self.norm_layers = nn.ModuleList(
            nn.BatchNorm2d(3, 1e-3, track_running_stats=False) for _ in range(2)
        )
        self.head = nn.Linear(12, 3)
        self.double().load_state_dict(ours.state_dict())

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norm_layers, strict=True):
            x = torch.tanh(norm(conv(F.pad(x, (0, 1, 0, 1)))))
        return self.head(x.permute(0, 2, 3, 1).flatten(1))


@pytest.mark.parametrize("tail", ["none", "shared", "separate"])
def test_serial_reptile_is_the_official_loop(tail):
    network, iterations, steps, lr = conv4(), 3, 4, 0.01
    plain = OfficialLoop(PlainConv(network), F.cross_entropy, lr)
    learner = Reptile(
        network,
        Classification(),
        inner_lr=lr,
        inner_steps=steps,
        inner_batch=4,
        adapt_norm=True,
        moments="serial",
        tail=tail,
        outer_optimizer="sgd",
        outer_lr=0.8,
        outer_schedule="linear",
        iterations=iterations,
    )
    for iteration in range(iterations):
        tasks = images(2, seed=iteration)
        loops = []
        for i in range(2):
            one = tasks[i : i + 1]
            batches = [
                (b.x[0], b.y[0]) for b in minibatches(one.support, 4, steps, replacement=False)
            ]
            if tail == "separate":
                batches[-1] = (one.query.x[0], one.query.y[0])
            loops.append(batches)
        plain.train_step(loops, 0.8 * (1 - iteration / iterations), foml=tail != "none")
        learner.meta_step(tasks)
        found = dict(network.named_parameters())
        for name, expected in plain.network.named_parameters():
            # rounding in the gradient of biases before batch norm is divided by epsilon
            torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-9)
    assert learner.moment_steps == plain.count == iterations * 2 * steps


# --- which steps count ----------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_step_weights(optimizer):
    tasks, network = sinusoids(3), mlp()
    options = SGD | {"inner_optimizer": optimizer, "inner_steps": 3}

    def found(**more):
        return gradient(Reptile(network, Regression(), **(options | more)), tasks)

    ones, default = found(step_weights=(1.0, 1.0, 1.0)), found()
    torch.testing.assert_close(ones, default, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found(step_weights=(0.0, 0.0, 1.0)), found(tail="shared"))
    each = [found(step_weights=w) for w in ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))]
    torch.testing.assert_close(sum(each), default, rtol=1e-12, atol=1e-15)
    mixed = found(step_weights=(0.5, 0.0, -2.0))
    torch.testing.assert_close(mixed, 0.5 * each[0] - 2.0 * each[2], rtol=1e-10, atol=1e-14)


def test_step_weights_pick_the_inner_gradients():
    """With inner SGD the change of step i is inner_lr g_i, the gradient on mini-batch i."""
    tasks, network = sinusoids(1), mlp()
    learner = Reptile(network, Regression(), **SGD, inner_steps=2, step_weights=(0.0, 1.0))
    found = gradient(learner, tasks)
    first, second = minibatches(tasks.support, 4, 2, replacement=False)
    after_first = MAML(network, Regression(), inner_lr=0.05, inner_steps=1, first_order=True)
    expected = 0.05 * gradient(after_first, TaskBatch(first, second))  # g2, once adapted
    assert relative_error(found, expected) < 1e-12


def test_separate_tail_is_first_order_maml_with_mini_batches():
    tasks, network = sinusoids(3), mlp()
    reptile = Reptile(
        network, Regression(), **(SGD | {"inner_batch": None}), inner_steps=3, tail="separate"
    )
    fomaml = MAML(network, Regression(), inner_lr=0.05, inner_steps=2, first_order=True)
    assert relative_error(gradient(reptile, tasks), 0.05 * gradient(fomaml, tasks)) < 1e-12


def test_a_separate_tail_without_queries_is_said(tmp_path):
    arguments = runs.overrides(tmp_path, "reptile", "glyphs", "training.iterations=1")
    run = experiment([*arguments, "algorithm.tail=separate", "dataset.queries=0"])
    with pytest.raises(UserError, match=r"^dataset.queries=0: accepted is 1 or more: tr"):
        run.run()


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"step_weights": (1.0,)}, "step_weights"),
        ({"step_weights": (1.0,) * 3, "tail": "shared"}, "step_weights"),
        ({"tail": "short"}, "tail"),
        ({"moments": "kept"}, "moments"),
        ({"inner_batch": 0}, "inner_batch"),
        ({"test_batch": 0}, "test_batch"),
        ({"test_lr": 0.0}, "test_lr"),
        ({"inner_steps": 0}, "inner_steps"),
        ({"inner_optimizer": "rmsprop"}, "inner_optimizer"),
    ],
)
def test_bad_values_are_named(options, option):
    with pytest.raises(BadValue) as error:
        Reptile(mlp(), Regression(), **{"inner_steps": 3, **options})
    assert error.value.option == option


# --- the outer loop -------------------------------------------------------------------------------


def test_outer_step_is_annealed_to_zero():
    """The interpolation of iteration i is outer_lr (1 - i / iterations)."""
    tasks, network = sinusoids(2), mlp()
    options = SGD | {"inner_steps": 2, "outer_lr": 0.6, "outer_schedule": "linear"}
    learner = Reptile(network, Regression(), **options, iterations=3)
    for rate in (0.6, 0.4, 0.2, 0.0):
        before = parameters(learner)
        with torch.no_grad():
            ends = learner.train().adapt(tasks.support).params[-1]
        mean = flat(ends[name].mean(0) for name, _ in network.named_parameters())
        learner.meta_step(tasks)
        torch.testing.assert_close(
            parameters(learner), before + rate * (mean - before), rtol=1e-10, atol=1e-12
        )


def test_meta_training_and_meta_test_have_batches_of_their_own():
    tasks, network = sinusoids(2), mlp()
    learner = Reptile(network, Regression(), **SGD, test_batch=None, inner_steps=1)
    whole = MAML(network, Regression(), inner_lr=0.05)
    expected = flat(whole.adapt(tasks.support).params[-1].values())
    found = {
        training: flat(learner.train(training).adapt(tasks.support).params[-1].values())
        for training in (True, False)
    }
    assert relative_error(found[False], expected) < 1e-13
    assert relative_error(found[True], expected) > 1e-3


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_meta_training_and_meta_test_have_inner_rates_of_their_own(kind):
    tasks, network = sinusoids(2), mlp()
    options = SGD | {"inner_optimizer": kind, "moments": "fresh"}
    alike = Reptile(network, Regression(), **options | {"inner_lr": 0.02}, test_batch=4)
    learner = Reptile(network, Regression(), **options, test_batch=4, test_lr=0.02)
    own = Reptile(network, Regression(), **options, test_batch=4)
    for training, expected in ((False, alike), (True, own)):
        found, wanted = (
            flat(one.train(training).adapt(tasks.support).params[-1].values())
            for one in (learner, expected)
        )
        assert torch.equal(found, wanted)
    assert torch.equal(gradient(learner.eval(), tasks), gradient(own.train(), tasks))


def test_a_loss_that_is_not_finite_leaves_the_moments():
    tasks = sinusoids(2)
    learner = Reptile(mlp(), Regression(), inner_steps=2).double()
    learner.meta_step(tasks)
    before = {k: v.clone() for k, v in learner.state_dict().items() if torch.is_tensor(v)}
    broken = tasks.support.y.clone()
    broken[1, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="1 of 2 tasks have a loss that is not finite"):
        learner.meta_step(TaskBatch(Examples(tasks.support.x, broken), tasks.query))
    after = learner.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert learner.moment_steps == 2
