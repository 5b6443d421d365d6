"""Names, units and directions of the metrics, as tables and figures show them."""

from __future__ import annotations

import math

FRACTIONS = ("accuracy", "accuracy_of_particles", "assigned_accuracy", "ece")
"""Metrics stored as fractions; reports show them in percent."""

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
    """Factor from the stored to the shown value of the metric: fractions are shown in percent."""
    return 100.0 if metric in FRACTIONS else 1.0


def label(metric: str) -> str:
    """The metric's name, with a percent sign if it is a fraction."""
    words = " ".join(_NAMES.get(word, word) for word in metric.split("_"))
    return f"{words}, %" if metric in FRACTIONS else words


def axis_label(metric: str) -> str:
    """The metric's name in full, with its unit."""
    words = metric.split("_")
    unit = "%" if metric in FRACTIONS else "nats" if "nll" in words else None
    return " ".join(_IN_FULL.get(word, word) for word in words) + (f" ({unit})" if unit else "")


def is_accuracy(metric: str) -> bool:
    """Whether the metric is the fraction of queries that were answered correctly."""
    return metric in _ACCURACIES


def higher_is_better(metric: str) -> bool:
    """Whether larger is better, for metrics whose direction no run's summary states."""
    return metric in _HIGHER_IS_BETTER


def digits(metric: str) -> int:
    """Digits after the decimal point of a shown value."""
    return 2 if metric in FRACTIONS else _DIGITS.get(metric, 3)


def number(metric: str, value: float, sign: str = "") -> str:
    """Format a value in its shown unit, with a true minus sign; `sign="+"` also shows a plus.

    From a million on, the format has an exponent.
    """
    form = f"{sign}.{digits(metric)}f" if abs(value) < _LARGE else f"{sign}.1e"
    text = f"{value:{form}}"
    return text.replace("-", "−")


def shown(metric: str, mean: float | None, half: float | None = None) -> str:
    """`94.27 ± 0.89` from stored values; None is JSON's null, for a value that is not finite."""
    if mean is None or not math.isfinite(mean):
        return "not finite"
    if half is None or not math.isfinite(half):  # a single task
        return number(metric, scale(metric) * mean)
    around = f" ± {number(metric, scale(metric) * half)}"
    return number(metric, scale(metric) * mean) + around
