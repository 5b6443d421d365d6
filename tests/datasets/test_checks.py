"""Tasks that are not what their dataset declares are refused before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import runs
import torch

from mamlbench.compose import experiment
from mamlbench.datasets.base import Dataset
from mamlbench.datasets.checks import check_tasks
from mamlbench.datasets.circles2d import Circles2D
from mamlbench.datasets.sinusoid import Sinusoid
from mamlbench.errors import UserError
from mamlbench.tasks import Examples

Change = Callable[[Examples], Examples]


def spoil(kind: type[Dataset], change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change both sides of all tasks that datasets of this class make."""
    make = kind.make

    def spoilt(*arguments: object) -> object:
        tasks = make(*arguments)
        return replace(tasks, support=change(tasks.support), query=change(tasks.query))

    monkeypatch.setattr(kind, "make", spoilt)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            Sinusoid,
            lambda e: replace(e, x=e.x.repeat(1, 1, 3)),
            r"x has shape \[2, 5, 3\]; accepted is \[2, 5, 1\]: tasks, examples, input_shape",
        ),
        (Sinusoid, lambda e: e[:1], r"x has shape \[1, 5, 1\]; accepted is \[2, 5, 1\]: "),
        (Sinusoid, lambda e: replace(e, x=e.x.double()), "x is torch.float64; accepted is torch.f"),
        (
            Sinusoid,
            lambda e: replace(e, y=e.y.repeat(1, 1, 2)),
            r"y has shape \[2, 5, 2\]; accepted is \[2, 5, 1\]: tasks, examples, outputs",
        ),
        (
            Sinusoid,
            lambda e: replace(e, y=e.y[..., 0]),
            r"y has shape \[2, 5\]; accepted is \[2, 5, 1\]: ",
        ),
        (Sinusoid, lambda e: replace(e, y=e.y.long()), "y is torch.int64; accepted is torch.float"),
        (
            Circles2D,
            lambda e: replace(e, y=e.y + 1),
            "y is 2 to 2; accepted is class numbers 0 to 1",
        ),
        (
            Circles2D,
            lambda e: replace(e, y=e.y.float()),
            "y is torch.float32; accepted is torch.int64, class numbers from 0",
        ),
        (
            Circles2D,
            lambda e: replace(e, y=e.y.unsqueeze(-1)),
            r"y has shape \[2, 5, 1\]; accepted is \[2, 5\]: tasks, examples",
        ),
    ],
)
def test_what_a_task_lacks_is_told(
    kind: type[Dataset], change: Change, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(kind, change, monkeypatch)
    told = f"^dataset: {kind.__name__}: in the support sets of val tasks, {message}"
    with pytest.raises(UserError, match=told):
        check_tasks(kind(shots=5, queries=5), "val", 5, 5)


def test_fewer_queries_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(Sinusoid, lambda e: Examples(e.x[:, :5], e.y[:, :5]), monkeypatch)
    told = r"in the query sets of test tasks, x has shape \[2, 5, 1\]; accepted is \[2, 9, 1\]"
    with pytest.raises(UserError, match=told):
        check_tasks(Sinusoid(shots=5, queries=9), "test", 5, 9)


def test_there_may_be_no_queries_in_training() -> None:
    check_tasks(Circles2D(shots=5, queries=0), "train", 5, 0)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_run_refuses_targets_that_its_loss_would_broadcast(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterations = 1 if split == "train" else 0
    line = runs.overrides(tmp_path, "maml", "sinusoid", f"training.iterations={iterations}")
    run = experiment([*line, "training.validate_every=0"])
    spoil(Sinusoid, lambda e: Examples(e.x, torch.cat([e.y, e.y], -1)), monkeypatch)
    with pytest.raises(UserError, match=r"dataset: Sinusoid: .* accepted is .* outputs"):
        run.run()
    assert not run.folder.path.exists()
