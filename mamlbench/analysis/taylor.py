"""Reptile's Taylor analysis, measured on the implementations (arXiv 1803.02999, section 5.1)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mamlbench.algorithms import MAML, MetaLearner, Reptile
from mamlbench.analysis.taylor_figure import draw
from mamlbench.datasets import Sinusoid
from mamlbench.errors import require
from mamlbench.files import write_atomically
from mamlbench.networks import MLP, Params
from mamlbench.networks.base import forward
from mamlbench.networks.layers import Rows
from mamlbench.objectives import Regression
from mamlbench.report.sheets import print_result_table
from mamlbench.tasks import Examples, TaskBatch

PREDICTED: dict[str, Callable[[int], tuple[float, float]]] = {
    "MAML": lambda k: (1.0, 2.0 * (k - 1)),
    "FOMAML": lambda k: (1.0, k - 1.0),
    "Reptile": lambda k: (float(k), k * (k - 1) / 2),
}
"""c0 and c1 for k mini-batches: E[meta-gradient] = c0 AvgGrad - c1 inner_lr AvgGradInner, up to
terms in inner_lr²."""


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of one algorithm's expected meta-gradient for k mini-batches.

    Attributes:
        algorithm: `MAML`, `FOMAML` or `Reptile`.
        k: mini-batches that the algorithm sees of each task.
        predicted: c0 and c1 of the paper.
        measured: c0 and c1 of the implementation.
        off: relative norm of the part of each term that AvgGrad or AvgGradInner does not explain.
        remainder: |meta-gradient - predicted expansion| / |AvgGrad|, for each α.
    """

    algorithm: str
    k: int
    predicted: tuple[float, float]
    measured: tuple[float, float]
    off: tuple[float, float]
    remainder: tuple[float, ...]


class Draws:
    """All ordered draws of k of a task's m mini-batches, as a support set of T·m^k tasks.

    Inner step i of a task learns from its draw i, so the mean over these tasks is exactly the
    expectation over independent draws.
    """

    def __init__(self, x: Tensor, y: Tensor, task: Tensor, drawn: Tensor) -> None:
        self.x, self.y, self.task, self.drawn = x, y, task, drawn

    @classmethod
    def every(cls, x: Tensor, y: Tensor, k: int) -> Draws:
        """All draws for x and y [T, m, M, C]."""
        tasks, minibatches = x.shape[:2]
        orders = list(itertools.product(range(tasks), *[range(minibatches)] * k))
        numbers = torch.tensor(orders)
        return cls(x, y, numbers[:, 0], numbers[:, 1:])

    def __len__(self) -> int:
        return len(self.task)

    def __getitem__(self, tasks: slice) -> Draws:
        return Draws(self.x, self.y, self.task[tasks], self.drawn[tasks])

    def __call__(self, step: int, params: Params | None = None) -> Examples:
        """Draw `step` of each task."""
        chosen = self.task, self.drawn[:, step]
        return Examples(self.x[chosen], self.y[chosen])


class TaylorStudy:
    """Are the meta-gradients of MAML, FOMAML and Reptile those of Reptile's analysis?

    On sinusoids split into mini-batches, with a small tanh network in float64, the algorithms
    themselves compute the expected meta-gradient at several inner step sizes α. A polynomial
    through these gives its value and slope at α = 0, which are compared with AvgGrad E[g1] and
    AvgGradInner E[H2 g1].

    Args:
        folder: where `reptile_taylor.csv` and `reptile_taylor.png` go.
        inner_lrs: at least three distinct step sizes α above 0.
        ks: numbers k of mini-batches that an algorithm sees of each task.
        tasks: number of sinusoids.
        minibatches: m, of which k are drawn independently.
        examples: points per mini-batch.
        hidden: width of each of the network's hidden layers.
        seed: of the network and the sinusoids.

    Raises:
        BadValue: an argument is out of range.
    """

    def __init__(
        self,
        folder: str,
        inner_lrs: tuple[float, ...] = (0.00025, 0.0005, 0.001, 0.002, 0.004),
        ks: tuple[int, ...] = (2, 3, 4),
        tasks: int = 2,
        minibatches: int = 4,
        examples: int = 5,
        hidden: tuple[int, ...] = (8, 8),
        seed: int = 0,
    ) -> None:
        fit = len(set(inner_lrs)) == len(inner_lrs) >= 3 and all(lr > 0 for lr in inner_lrs)
        require(fit, "inner_lrs", list(inner_lrs), "3 or more distinct numbers above 0")
        require(len(ks) > 0 and min(ks) >= 2, "ks", list(ks), "whole numbers from 2")
        for option, value in (("tasks", tasks), ("examples", examples)):
            require(value >= 1, option, value, "1 or more")
        require(minibatches >= 2, "minibatches", minibatches, "2 or more")
        require(seed >= 0, "seed", seed, "0 or more")
        self.folder, self.inner_lrs, self.ks = Path(folder), inner_lrs, ks
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = MLP((1,), 1, hidden, activation="tanh").double()
        points = Sinusoid().sample("train", seed, 0, tasks, minibatches * examples, 0).support
        shape = tasks, minibatches, examples, 1
        self.x, self.y = points.x.double().view(shape), points.y.double().view(shape)

    def run(self) -> list[Coefficients]:
        """Measure; print a table; write the table and the figure to the folder.

        Raises:
            UserError: the folder cannot be written.
        """
        results = self.measure()
        table = pd.DataFrame([_row(result) for result in results])
        write_atomically(self.folder / "reptile_taylor.csv", table.to_csv(index=False))
        draw(results, self.inner_lrs, PREDICTED, self.folder / "reptile_taylor.png")
        print_result_table(
            "Expected meta-gradient: c0 AvgGrad - c1 inner_lr AvgGradInner, paper and measured",
            ["algorithm", "k", "c0", "measured c0", "c1", "measured c1"],
            [_printed(result) for result in results],
        )
        print(f"{self.folder / 'reptile_taylor.png'}")
        return results

    def measure(self) -> list[Coefficients]:
        """The coefficients of each algorithm for each k."""
        return [self._coefficients(name, k) for name in PREDICTED for k in self.ks]

    def average_terms(self) -> tuple[Tensor, Tensor]:
        """AvgGrad and AvgGradInner, [all parameters].

        With independent mini-batches, a task's E[g1·g2] is |E[g]|², and E[H2 g1] is half the
        gradient of that.
        """
        parameters = dict(self.network.named_parameters())
        losses = Regression().loss(
            forward(self.network, parameters, self.x.flatten(1, 2), Rows()), self.y.flatten(1, 2)
        )
        values = list(parameters.values())
        each = [_flat(torch.autograd.grad(loss, values, create_graph=True)) for loss in losses]
        half = torch.stack([0.5 * gradient.square().sum() for gradient in each]).mean()
        return torch.stack(each).mean(0).detach(), _flat(torch.autograd.grad(half, values))

    def meta_gradient(self, algorithm: str, k: int, inner_lr: float) -> Tensor:
        """The algorithm's expected meta-gradient, [all parameters], by its own `meta_gradient`."""
        learner, scale = self._learner(algorithm, k, inner_lr)
        draws = Draws.every(self.x, self.y, k)
        # algorithms accept a support set that makes each step's examples, if it can be sliced
        tasks = TaskBatch(support=cast(Examples, draws), query=draws(k - 1))
        learner.meta_gradient(tasks)
        gradients = [cast(Tensor, p.grad).clone() for p in self.network.parameters()]
        return _flat(gradients) / scale

    def _learner(self, algorithm: str, k: int, inner_lr: float) -> tuple[MetaLearner, float]:
        """The learner, and the number to divide its meta-gradient by."""
        options: dict[str, Any] = {"inner_lr": inner_lr}
        if algorithm == "Reptile":
            options |= {"inner_steps": k, "inner_optimizer": "sgd", "inner_batch": None}
            return Reptile(self.network, Regression(), **options), inner_lr
        options |= {"inner_steps": k - 1, "first_order": algorithm == "FOMAML"}
        return MAML(self.network, Regression(), **options), 1.0

    def _coefficients(self, algorithm: str, k: int) -> Coefficients:
        c0, c1 = PREDICTED[algorithm](k)
        average, inner = self.average_terms()
        gradients = torch.stack([self.meta_gradient(algorithm, k, lr) for lr in self.inner_lrs])
        value, slope = _value_and_slope_at_zero(self.inner_lrs, gradients)
        measured = _along(value, average), -_along(slope, inner)
        off = (
            float((value - measured[0] * average).norm() / value.norm()),
            float((slope + measured[1] * inner).norm() / slope.norm()),
        )
        alphas = torch.tensor(self.inner_lrs, dtype=torch.float64).unsqueeze(1)
        left = gradients - (c0 * average - c1 * alphas * inner)
        remainder = tuple((left.norm(dim=1) / average.norm()).tolist())
        return Coefficients(algorithm, k, (c0, c1), measured, off, remainder)


def _value_and_slope_at_zero(at: tuple[float, ...], values: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope at 0 of the polynomial in α through values [n, ...] at n step sizes."""
    largest = max(at)  # powers of numbers near 1 keep the system well conditioned
    powers = np.vander(np.array(at) / largest, increasing=True)
    polynomial = torch.linalg.solve(torch.from_numpy(powers), values)
    return polynomial[0], polynomial[1] / largest


def _along(vector: Tensor, direction: Tensor) -> float:
    return float(vector @ direction / (direction @ direction))


def _flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _row(result: Coefficients) -> dict[str, Any]:
    return {
        "algorithm": result.algorithm,
        "k": result.k,
        "avg_grad_predicted": result.predicted[0],
        "avg_grad_measured": result.measured[0],
        "avg_grad_unexplained": result.off[0],
        "avg_grad_inner_predicted": result.predicted[1],
        "avg_grad_inner_measured": result.measured[1],
        "avg_grad_inner_unexplained": result.off[1],
    }


def _printed(result: Coefficients) -> list[str]:
    pairs = zip(result.predicted, result.measured, strict=True)
    return [
        result.algorithm,
        str(result.k),
        *(text for p, m in pairs for text in (f"{p:g}", f"{m:.6f}")),
    ]
