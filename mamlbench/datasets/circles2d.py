"""Circles in the plane: classification where a point inside says little about the boundary."""

from __future__ import annotations

import math

import numpy as np
import torch
from typing_extensions import override

from mamlbench.datasets.base import Dataset
from mamlbench.datasets.functions import Interval, between, require_intervals
from mamlbench.errors import one_of, require
from mamlbench.hardware.transfer import on_device
from mamlbench.objectives import Classification
from mamlbench.tasks import Examples, TaskBatch

_BISECTIONS = 52  # halvings until the interval is as small as float64 resolves


class Circles2D(Dataset):
    """Two classes, each uniform: class 1 inside a circle, class 0 in the rest of a square.

    PLATIPUS's ambiguous problem (arXiv 1806.02817): the support set has points of class 1 only,
    the query set equally many of both.

    Args:
        shots: K support points of each class in the support set.
        queries: Q query points of each class at meta-training.
        train_shots: K at meta-training.
        support: `positives`: points inside the circle only; `both`: equally many outside.
        centre: lowest and highest value of either coordinate of the centre.
        radius: smallest and largest radius.
        domain: lowest and highest value of either coordinate of a point.

    Raises:
        BadValue: a count below its minimum, an empty interval, or circles that may leave the
            domain or have no area.
    """

    objective = Classification()
    input_shape = (2,)
    outputs = 2
    ways = 2

    def __init__(
        self,
        shots: int = 1,
        queries: int = 10,
        train_shots: int | None = None,
        support: str = "positives",
        centre: Interval = (-3.0, 3.0),
        radius: Interval = (0.1, 2.0),
        domain: Interval = (-5.0, 5.0),
    ) -> None:
        super().__init__(shots, queries, train_shots)
        one_of("support", support, ("positives", "both"))
        require_intervals(centre=centre, radius=radius, domain=domain)
        require(radius[0] > 0, "radius", list(radius), "more than 0")
        reach = min(centre[0] - domain[0], domain[1] - centre[1])
        accepted = f"up to {reach:g}, so that all circles lie within the domain"
        require(radius[1] <= reach, "radius", list(radius), accepted)
        self.centre, self.radius, self.domain = centre, radius, domain
        self.support_points = support
        self.device = torch.device("cpu")

    @property
    @override
    def support_ways(self) -> int:
        return 1 if self.support_points == "positives" else 2

    @property
    @override
    def setting(self) -> str:
        return f"{self.shots}shot"

    @override
    def load(self, device: torch.device) -> None:
        self.device = device

    @override
    def words(self, split: str, shots: int, queries: int) -> int:
        return 3 + 2 * (self.support_ways * shots + 2 * queries)

    @override
    def make(self, split: str, u: np.ndarray, shots: int, queries: int) -> TaskBatch:
        centre, radius = between(u[:, :2], self.centre), between(u[:, 2], self.radius)
        info = {"centre_x": centre[:, 0], "centre_y": centre[:, 1], "radius": radius}
        points = u[:, 3:].reshape(len(u), -1, 2)
        counts = [(self.support_ways - 1) * shots, shots, queries, queries]
        parts = np.split(points, np.cumsum(counts)[:-1], axis=1)
        places = (self._outside, self._inside, self._outside, self._inside)
        drawn = [place(info, part) for place, part in zip(places, parts, strict=True)]
        support, query = (self._examples(*drawn[first : first + 2]) for first in (0, 2))
        return TaskBatch(support, query, info)

    def labels(self, info: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """True classes [T, n] of points [n, 2] or [T, n, 2]."""
        distance = np.hypot(
            x[..., 0] - info["centre_x"][:, None], x[..., 1] - info["centre_y"][:, None]
        )
        return (distance < info["radius"][:, None]).astype(np.int64)

    def _examples(self, outside: np.ndarray, inside: np.ndarray) -> Examples:
        x = np.concatenate([outside, inside], axis=1).astype(np.float32)
        y = np.repeat([0, 1], [outside.shape[1], inside.shape[1]])
        labels = on_device(y, self.device).repeat(len(x), 1)
        return Examples(on_device(x, self.device), labels)

    @staticmethod
    def _inside(info: dict[str, np.ndarray], u: np.ndarray) -> np.ndarray:
        """Points [T, n, 2] uniform in the circle, from u [T, n, 2] uniform in [0, 1)."""
        distance = info["radius"][:, None] * np.sqrt(u[..., 0])
        angle = 2 * math.pi * u[..., 1]
        x = info["centre_x"][:, None] + distance * np.cos(angle)
        return np.stack([x, info["centre_y"][:, None] + distance * np.sin(angle)], axis=-1)

    def _outside(self, info: dict[str, np.ndarray], u: np.ndarray) -> np.ndarray:
        """Points [T, n, 2] uniform in the rest of the square, from as many uniform numbers.

        x by inverting its distribution function (rejection would need an unknown number of draws),
        then y uniform over the part of the square at x that is outside the circle.
        """
        centre_x, centre_y, radius = (info[name][:, None] for name in info)
        low, high = self.domain
        side = high - low
        target = u[..., 0] * (side**2 - math.pi * radius**2)
        left, right = np.full_like(target, low), np.full_like(target, high)
        for _ in range(_BISECTIONS):
            x = 0.5 * (left + right)
            short = side * (x - low) - _area_left_of(x - centre_x, radius) < target
            left, right = np.where(short, x, left), np.where(short, right, x)
        half = _half_chord(x - centre_x, radius)
        y = low + u[..., 1] * (side - 2 * half)
        y = np.where(y < centre_y - half, y, y + 2 * half)
        return np.stack([x, y], axis=-1)


def _half_chord(t: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Half the length of the chord of a circle at distance t from its centre; 0 outside it."""
    return np.sqrt(np.maximum(radius**2 - t**2, 0.0))


def _area_left_of(t: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Area of the part of a circle around 0 whose first coordinate is below t."""
    t = np.clip(t, -radius, radius)
    return radius**2 * (math.pi / 2 + np.arcsin(t / radius)) + t * _half_chord(t, radius)
