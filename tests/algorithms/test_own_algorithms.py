"""What a user's own algorithm may do, and what is refused because it would train something else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mamlbench.algorithms import MAML
from mamlbench.datasets import Sinusoid
from mamlbench.errors import BadValue, UserError
from mamlbench.networks import MLP

DATA = Sinusoid(shots=5, queries=5)


class Shifted(MAML):
    """Makes a meta-parameter after the constructor of its base class, as any nn.Module may."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.shift = nn.Parameter(torch.zeros(1))

    def predict(self, *args, **options) -> Tensor:
        return super().predict(*args, **options) + self.shift


def learner(cls, **options) -> MAML:
    torch.manual_seed(0)
    return cls(MLP((1,), 1, hidden=(8,)), DATA.objective, **options)


def returning(change) -> type[MAML]:
    """MAML whose `meta_loss` returns what `change` makes of its losses and metrics."""

    class Mine(MAML):
        replayable = True

        def meta_loss(self, tasks):
            return change(*super().meta_loss(tasks))

    return Mine


def test_parameters_made_after_the_base_class_are_learned():
    mine = learner(Shifted, outer_lr=0.01)
    mine.meta_step(DATA.sample("train", 0, 0, 6))
    assert mine.shift.abs().item() == pytest.approx(0.01, rel=1e-3)  # Adam's first step


@pytest.mark.parametrize("replayed", [False, True])
def test_losses_are_one_for_each_task(replayed):
    """The mean of the losses would be divided by the number of tasks a second time."""
    mine = learner(returning(lambda losses, metrics: (losses.mean(), metrics)))
    if replayed:
        assert mine.replay()
    message = (
        r"algorithm: Mine\.meta_loss gives losses of shape \[\]; accepted is \[6\], a number .*"
    )
    with pytest.raises(UserError, match=message):
        mine.meta_gradient(DATA.sample("train", 0, 0, 6))


@pytest.mark.parametrize("rank", [torch.tensor(3.0), 3.0])
def test_metrics_are_one_for_each_task(rank):
    mine = learner(returning(lambda losses, metrics: (losses, metrics | {"rank": rank})))
    with pytest.raises(UserError, match=r"^algorithm: Mine\.meta_loss gives rank of shape \[\]"):
        mine.meta_gradient(DATA.sample("train", 0, 0, 6))


@pytest.mark.parametrize("replayed", [False, True])
def test_the_losses_are_the_metric_loss_where_there_is_none(replayed):
    mine = learner(returning(lambda losses, metrics: (losses, {"mse": metrics["mse"]})))
    usual = learner(MAML)
    if replayed:
        assert mine.replay()
    for step in range(4):
        batch = DATA.sample("train", 0, 6 * step, 6)
        found, expected = mine.meta_step(batch), usual.meta_step(batch)
        assert list(found) == ["mse", "loss"]
        torch.testing.assert_close(found["loss"], expected["loss"])


def test_a_schedule_needs_its_length():
    """Over one iteration, as once by default, `linear` would end after the first step."""
    with pytest.raises(BadValue, match=r"^iterations=null: accepted is .*outer_schedule=linear$"):
        learner(MAML, outer_schedule="linear")
    learner(MAML, outer_schedule="linear", iterations=2)
    learner(MAML)
