"""Converts a search space from Hydra's sweep syntax to Optuna's distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from mamlbench.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def space_of(overrides: Sequence[str]) -> tuple[dict[str, BaseDistribution], list[str]]:
    """The distributions of the overrides that are sweeps, and the other overrides.

    If several overrides have the same key, the last one counts.

    Raises:
        UserError: a sweep is not an interval, a range, or a list of choices.
    """
    parsed = {
        o.get_key_element(): o for o in OverridesParser.create().parse_overrides(list(overrides))
    }
    space, fixed = {}, []
    for key, override in parsed.items():
        if override.is_sweep_override():
            space[key] = _distribution(key, override)
        else:
            fixed.append(str(override.input_line))
    return space, fixed


def _distribution(key: str, override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    value: Any = override.value()
    try:
        if isinstance(value, IntervalSweep):
            return _numbers(value.start, value.end, "log" in value.tags)
        if isinstance(value, RangeSweep) and not value.shuffle:
            return _range(value.start, value.stop, value.step, "log" in value.tags)
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (TypeError, ValueError, ArithmeticError, AttributeError, HydraException) as error:
        accepted = (
            "interval(0.1,1), int(interval(1,9)), tag(log,interval(0.1,1)), range(1,6) or "
            "choice(a,b)"
        )
        raise UserError(f"{override.input_line}: accepted is {key}={accepted}") from error


def _range(start: Any, stop: Any, step: Any, log: bool) -> BaseDistribution:
    """The distribution of `range(start, stop, step)`, which excludes `stop`."""
    last = start + step * (math.ceil((stop - start) / step) - 1)
    return _numbers(start, last, log, step)


def _numbers(low: Any, high: Any, log: bool, step: Any = None) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    if {type(low), type(high), type(step)} <= {int, type(None)}:
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)
