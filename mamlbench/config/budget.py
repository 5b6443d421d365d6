"""Shorter versions of any run: `budget=short` and `budget=smoke`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mamlbench.config.build import plain
from mamlbench.errors import one_of


@dataclass(frozen=True)
class Budget:
    """How much of a run to do.

    Attributes:
        part: divide the outer steps by this number.
        least: keep at least this many outer steps, or all if a run has fewer.
        tasks: maximum number of meta-validation and of meta-test tasks (None: no maximum).
    """

    part: int
    least: int
    tasks: int | None = None


BUDGETS = {"full": None, "short": Budget(10, 10), "smoke": Budget(5000, 5, 20)}


def within_budget(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Shorten a config as its `budget` says; return its plain values and what was shortened.

    Outer steps are divided, and `algorithm.epoch_length` with them; `validate_every` is at most the
    run's length. Values interpolated from a changed number follow it.

    Returns:
        The values, and for `summary.json` the budget's name with each old and new number, such as
        {"budget": "smoke", "iterations": [60000, 12], "tasks": [600, 20]}; None for a full run.

    Raises:
        BadValue: the budget is unknown.
    """
    name = str(config.get("budget", "full"))
    one_of("budget", name, BUDGETS)
    budget, training = BUDGETS[name], config.get("training")
    if budget is None or not isinstance(training, Mapping) or config.get("analysis") is not None:
        return plain(config), None
    node = _unresolved(config)
    shortened: dict[str, Any] = {"budget": name}
    iterations = _number(node, "training.iterations")
    if iterations is not None:
        left = min(iterations, max(iterations // budget.part, budget.least))
        shortened["iterations"] = [iterations, left]
        _shorten_training(node, iterations, left)
    for option in ("tasks", "validation_tasks"):
        tasks = _number(node, f"evaluation.{option}")
        if tasks is not None and budget.tasks is not None and tasks > budget.tasks:
            shortened[option] = [tasks, budget.tasks]
            OmegaConf.update(node, f"evaluation.{option}", budget.tasks)
    return plain(node), shortened


def _shorten_training(node: DictConfig, iterations: int, left: int) -> None:
    epoch = _number(node, "algorithm.epoch_length")
    scheduled = _number(node, "algorithm.iterations")
    OmegaConf.update(node, "training.iterations", left)
    if epoch is not None and iterations:
        OmegaConf.update(node, "algorithm.epoch_length", max(1, epoch * left // iterations))
    if scheduled == iterations:
        OmegaConf.update(node, "algorithm.iterations", left)
    for option, most in (("validate_every", left), ("log_every", max(1, left // 5))):
        every = _number(node, f"training.{option}")
        if every is not None and every > most:
            OmegaConf.update(node, f"training.{option}", most)


def _unresolved(config: Mapping[str, Any]) -> DictConfig:
    """A copy with unresolved interpolations."""
    is_node = isinstance(config, DictConfig)
    values: Any = OmegaConf.to_container(config, resolve=False) if is_node else dict(config)
    return OmegaConf.create(values)


def _number(node: DictConfig, key: str) -> int | None:
    """The integer at a dotted key, or None; wrong values are reported when objects are built."""
    try:
        value = OmegaConf.select(node, key)
    except OmegaConfBaseException:
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
