"""MAML, FOMAML and joint training against finite differences and against their definitions."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from problems import (
    conv4,
    flat,
    gradient,
    images,
    mlp,
    parameters,
    relative_error,
    set_parameters,
    sinusoids,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mamlbench.algorithms import MAML, Joint
from mamlbench.networks import Rows
from mamlbench.objectives import Classification, Objective, Regression
from mamlbench.tasks import Examples, TaskBatch


def meta_loss(learner: MAML, tasks: TaskBatch) -> float:
    """Mean query loss of the adapted learner, by forward passes and inner steps only."""
    with torch.no_grad():
        outputs = learner.predict(learner.adapt(tasks.support), tasks.query.x)[:, 0]
        return float(learner.objective.loss(outputs, tasks.query.y).mean())


def differences(learner: MAML, tasks: TaskBatch, directions: Tensor, step: float) -> Tensor:
    """Central differences of the meta-loss along each direction."""
    at, result = parameters(learner), []
    for direction in directions:
        ends = []
        for end in (at + step * direction, at - step * direction):
            set_parameters(learner, end)
            ends.append(meta_loss(learner, tasks))
        result.append((ends[0] - ends[1]) / (2 * step))
    set_parameters(learner, at)
    return torch.tensor(result, dtype=torch.float64)


def some_directions(count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return nn.functional.normalize(
        torch.randn(count, size, generator=generator, dtype=torch.float64)
    )


# --- against finite differences -------------------------------------------------------------------


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_meta_gradient_on_sinusoids(steps, learned):
    tasks = sinusoids(2)
    learner = MAML(
        mlp(), Regression(), inner_lr=0.02, inner_steps=steps, learn_inner_lr=learned
    ).double()
    found = gradient(learner, tasks)
    assert len(found) == 39 + learned
    expected = differences(learner, tasks, torch.eye(len(found)).double(), step=1e-5)
    assert relative_error(found, expected) < 1e-6


@pytest.mark.parametrize("adapt_norm", [False, True])
@pytest.mark.parametrize("down", ["stride", "pool"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_meta_gradient_of_conv4_with_batch_norm(steps, down, adapt_norm):
    tasks = images(2)
    learner = MAML(
        conv4(down=down),
        Classification(),
        inner_lr=0.1,
        inner_steps=steps,
        adapt_norm=adapt_norm,
    )
    found = gradient(learner, tasks)
    directions = some_directions(6, len(found))
    expected = differences(learner, tasks, directions, step=1e-5)
    assert relative_error(directions @ found, expected) < 1e-6


@pytest.mark.parametrize("down", ["stride", "pool_same"])
def test_meta_gradient_of_conv4_with_relu_and_odd_sides(down):
    """Difference steps so small that none crosses a ReLU's kink."""
    tasks = images(2, size=5)
    learner = MAML(
        conv4(size=5, down=down, activation="relu"), Classification(), inner_lr=0.05, inner_steps=2
    )
    found = gradient(learner, tasks)
    directions = some_directions(6, len(found))
    expected = differences(learner, tasks, directions, step=1e-6)
    assert relative_error(directions @ found, expected) < 1e-6


def test_adapting_a_shift_alone_with_one_task_of_images():
    """Torch's batch norm, used for a single task, cannot differentiate this twice by itself."""
    tasks = images(2)
    options = {"inner_lr": 0.1, "inner_steps": 2, "adapt_norm": True}
    learner = MAML(conv4(affine="shift"), Classification(), **options)
    together = gradient(learner, tasks)
    learner.task_chunk = 1
    assert relative_error(gradient(learner, tasks), together) < 1e-11


# --- first order ----------------------------------------------------------------------------------


def query_gradient_at_the_adapted(learner: MAML, tasks: TaskBatch) -> Tensor:
    """Gradient of the mean query loss in the adapted parameters, task by task."""
    total = 0
    for i in range(len(tasks)):
        one = tasks[i : i + 1]
        with torch.no_grad():
            end = learner.adapt(one.support).params[-1]
        leaves = {
            name: value.reshape(dict(learner.network.named_parameters())[name].shape)
            .detach()
            .requires_grad_()
            for name, value in end.items()
        }
        outputs = torch.func.functional_call(learner.network, leaves, (one.query.x, Rows()))
        loss = learner.objective.loss(outputs, one.query.y).sum()
        total = total + flat(torch.autograd.grad(loss, list(leaves.values())))
    return total / len(tasks)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    ("network", "tasks", "objective"),
    [(mlp, sinusoids, Regression()), (conv4, images, Classification())],
)
def test_fomaml_is_the_query_gradient_at_the_adapted(network, tasks, objective, steps):
    batch = tasks(3)
    learner = MAML(network(), objective, inner_lr=0.1, inner_steps=steps, first_order=True)
    expected = query_gradient_at_the_adapted(learner, batch)
    assert relative_error(gradient(learner, batch), expected) < 1e-12
    second_order = MAML(learner.network, objective, inner_lr=0.1, inner_steps=steps)
    assert relative_error(gradient(second_order, batch), expected) > 1e-2


class Linear(Objective):
    """A loss without curvature in the outputs: their product with the targets."""

    metric = "loss"
    higher_is_better = False

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs * y).mean(dim=(-2, -1))

    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": self.loss(outputs.mean(dim=1), y)}


@pytest.mark.parametrize("steps", [1, 4])
def test_fomaml_is_maml_where_the_hessian_vanishes(steps):
    """A linear network under a linear loss; one hidden layer makes the Hessian nonzero."""
    tasks = sinusoids(3)
    for hidden, same in (((), True), ((4,), False)):
        network = mlp(hidden=hidden)
        first, second = (
            gradient(MAML(network, Linear(), inner_steps=steps, inner_lr=0.1, first_order=f), tasks)
            for f in (True, False)
        )
        error = relative_error(first, second)
        assert error < 1e-14 if same else error > 1e-2


# --- cost -----------------------------------------------------------------------------------------


class Operations(TorchDispatchMode):
    """Counts the operations that torch runs."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("adapt_norm", [False, True])
@pytest.mark.parametrize("norm", ["batch", "support", "group"])
def test_an_inner_step_costs_the_same_however_many_came_before(norm, adapt_norm):
    """The gradient of a step does not go back through earlier steps."""
    tasks, counts = images(2), []
    learner = MAML(conv4(norm=norm), Classification(), adapt_norm=adapt_norm)
    for steps in range(1, 5):
        with Operations() as operations:
            learner.adapt(tasks.support, steps)
        counts.append(operations.count)
    each = [after - before for before, after in pairwise(counts)]
    assert each[1] == each[2] > 0


# --- limiting cases -------------------------------------------------------------------------------


def test_maml_without_inner_steps_is_joint_training_on_the_query():
    tasks = images(3)
    network = conv4()
    maml = MAML(network, Classification(), inner_steps=0)
    nothing = Examples(tasks.query.x[:, :0], tasks.query.y[:, :0])
    joint = Joint(network, Classification())
    found = gradient(maml, tasks)
    assert relative_error(found, gradient(joint, TaskBatch(nothing, tasks.query))) < 1e-13


def test_joint_is_the_mean_loss_over_all_examples():
    """With equally large tasks and no batch norm, the division into tasks does not matter."""
    tasks = sinusoids(3)
    network = mlp()
    found = gradient(Joint(network, Regression()), tasks)
    x, y = (
        torch.cat([getattr(tasks.support, side), getattr(tasks.query, side)], 1).reshape(-1, 1)
        for side in ("x", "y")
    )
    layers = []
    for linear in (*network.hidden, network.head):
        layers += [nn.Linear(*reversed(linear.weight.shape), dtype=torch.float64), nn.Tanh()]
        layers[-2].load_state_dict(linear.state_dict())
    plain = nn.Sequential(*layers[:-1])
    nn.functional.mse_loss(plain(x), y).backward()
    assert relative_error(found, flat(p.grad for p in plain.parameters())) < 1e-13


def test_inner_step_by_hand():
    """y = w x + b on the points (1, 2) and (3, 1) with w = b = 0: one step of 0.1."""
    network = mlp(hidden=())
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    x, y = torch.tensor([[[1.0], [3.0]]]).double(), torch.tensor([[[2.0], [1.0]]]).double()
    adapted = MAML(network, Regression(), inner_lr=0.1).adapt(Examples(x, y)).params
    # dL/dw = -2 (2 * 1 + 1 * 3) / 2 = -5, dL/db = -2 (2 + 1) / 2 = -3
    assert adapted[0]["head.weight"].tolist() == [[[0.0]]]
    assert adapted[1]["head.weight"].item() == pytest.approx(0.5)
    assert adapted[1]["head.bias"].item() == pytest.approx(0.3)


def test_the_outer_adam_is_torchs():
    """With β1 = 0.9 and β2 = 0.999, over enough steps to tell."""
    network = mlp()
    learner = MAML(network, Regression(), outer_lr=0.01)
    other = MAML(copy.deepcopy(network), Regression())
    plain = torch.optim.Adam(other.parameters(), lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    for seed in range(4):
        learner.meta_step(sinusoids(2, seed=seed))
        other.meta_gradient(sinusoids(2, seed=seed))
        plain.step()
        pairs = zip(learner.parameters(), other.parameters(), strict=True)
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_clip_is_of_each_element():
    tasks, network = sinusoids(2), mlp()
    before = parameters(network)
    learner = MAML(
        network, Regression(), clip=0.3, outer_optimizer="sgd", outer_lr=1.0, inner_lr=0.02
    )
    full = gradient(learner, tasks)
    assert full.abs().max() > 0.3 > full.abs().min()
    learner.meta_step(tasks)
    torch.testing.assert_close(before - parameters(network), full.clamp(-0.3, 0.3))


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.4, 0.4, 0.4, 0.4, 0.4]),
        ("linear", [0.4, 0.325, 0.25, 0.175, 0.1]),
        ("exponential", [0.4, 0.2 * 2**0.5, 0.2, 0.1 * 2**0.5, 0.1]),
        ("cosine", [0.4, 0.25 + 0.15 * 0.5**0.5, 0.25, 0.25 - 0.15 * 0.5**0.5, 0.1]),
    ],
)
def test_outer_schedule_by_hand(schedule, rates):
    tasks, network = sinusoids(1), mlp()
    learner = MAML(
        network,
        Regression(),
        outer_optimizer="sgd",
        outer_lr=0.4,
        outer_schedule=schedule,
        outer_lr_final=0.1,
        iterations=4,
        clip=1e-9,  # every element of the step is then the rate times this
    )
    steps = []
    for _ in range(5):
        before = parameters(network)
        learner.meta_step(tasks)
        steps.append(float((parameters(network) - before).abs().max()) / 1e-9)
    assert steps == pytest.approx(rates, rel=1e-5)


class Fresh:
    """A support set that is gathered anew at each inner step."""

    def __init__(self, tasks: TaskBatch) -> None:
        self.tasks, self.asked = tasks, []

    def __len__(self) -> int:
        return len(self.tasks)

    def __call__(self, step, params):
        self.asked.append(step)
        side = self.tasks.query if step % 2 else self.tasks.support
        return Examples(side.x, side.y)


def test_fresh_support_is_used_step_by_step():
    tasks, network = sinusoids(2), mlp()
    learner = MAML(network, Regression(), inner_lr=0.1, inner_steps=2)
    fresh = Fresh(tasks)
    found = learner.adapt(fresh).params[-1]
    middle = learner.adapt(tasks.support, 1).params[-1]
    step = torch.func.grad(
        lambda p: (
            Regression()
            .loss(
                torch.func.functional_call(network, p, (tasks.query.x, Rows())),
                tasks.query.y,
            )
            .sum()
        )
    )(middle)
    for name, value in found.items():
        torch.testing.assert_close(value, middle[name] - 0.1 * step[name])
    assert fresh.asked == [0, 1]


def test_rates_may_be_whole_numbers():
    learned = MAML(mlp(), Regression(), inner_lr=1, learn_inner_lr=True)
    assert learned.learned_inner_lr.dtype is torch.float32
    assert learned.learned_inner_lr.tolist() == 1.0
