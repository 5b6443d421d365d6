"""The metrics' names, units and directions, as tables and figures show them."""

from __future__ import annotations

import math

FRACTIONS = ("accuracy", "accuracy_of_particles", "assigned_accuracy", "ece")
"""Metrics that are kept as fractions; reports show them in percent."""

_RETURNS = ("return", "return_of_best_particle")
_ACCURACIES = ("accuracy", "accuracy_of_particles", "assigned_accuracy")
_HIGHER_IS_BETTER = (*_ACCURACIES, *_RETURNS, "coverage")
_NAMES = {"mse": "MSE", "nll": "NLL", "ece": "ECE", "brier": "Brier score"}
_IN_FULL = {
    "mse": "mean squared error",
    "nll": "negative log-likelihood",
    "ece": "expected calibration error",
    "brier": "Brier score",
}
_DIGITS = dict.fromkeys(_RETURNS, 2)
_LARGE = 1e6


def scale(metric: str) -> float:
    """Factor from the metric as it is kept to the metric as it is shown: fractions as percent."""
    return 100.0 if metric in FRACTIONS else 1.0


def label(metric: str) -> str:
    """The metric's name and, where it is a fraction, that it is shown as percent."""
    words = " ".join(_NAMES.get(word, word) for word in metric.split("_"))
    return f"{words}, %" if metric in FRACTIONS else words


def axis_label(metric: str) -> str:
    """The metric's name in full, with its unit."""
    words = metric.split("_")
    unit = "%" if metric in FRACTIONS else "nats" if "nll" in words else None
    return " ".join(_IN_FULL.get(word, word) for word in words) + (f" ({unit})" if unit else "")


def is_accuracy(metric: str) -> bool:
    """Whether it is a fraction of queries that were right."""
    return metric in _ACCURACIES


def higher_is_better(metric: str) -> bool:
    """Whether more of it is better, where no run is read by it, which would say so."""
    return metric in _HIGHER_IS_BETTER


def digits(metric: str) -> int:
    """Digits after the point of a value that is shown."""
    return 2 if metric in FRACTIONS else _DIGITS.get(metric, 3)


def number(metric: str, value: float, sign: str = "") -> str:
    """A value in the unit that is shown, with a true minus, or with `+` for `sign`, its sign.

    From a million on it has an exponent.
    """
    form = f"{sign}.{digits(metric)}f" if abs(value) < _LARGE else f"{sign}.1e"
    text = f"{value:{form}}"
    return text.replace("-", "−")


def shown(metric: str, mean: float | None, half: float | None = None) -> str:
    """`94.27 ± 0.89`, from the values as they are kept; JSON has null for what is not finite."""
    if mean is None or not math.isfinite(mean):
        return "not finite"
    if half is None or not math.isfinite(half):  # of a single task
        return number(metric, scale(metric) * mean)
    around = f" ± {number(metric, scale(metric) * half)}"
    return number(metric, scale(metric) * mean) + around
