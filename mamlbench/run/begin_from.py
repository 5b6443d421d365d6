"""Loads what another run has learned into a learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from mamlbench.algorithms.base import MetaLearner
from mamlbench.errors import UserError

_INSTEAD_OF_THE_NETWORK = ("initial_particles", "step_norms", "latent", "network.inner")
"""State entries of learners that do not start from `network` alone: several networks, parts of
networks, a latent that generates networks, or a wider network."""


def load_learner(learner: MetaLearner, state: dict[str, Any], path: Path) -> None:
    """Load a checkpoint's parameters into a learner.

    Raises:
        UserError: the checkpoint is of another architecture or algorithm.
    """
    place = f"checkpoint={path}"
    found = _learner_in(state, place)
    _require_same(learner.state_dict(), found, place)
    learner.load_state_dict(found)


def warm_start(learner: MetaLearner, state: dict[str, Any], path: Path) -> None:
    """Load only a checkpoint's network into a learner.

    Raises:
        UserError: the architectures differ, or one of the two algorithms does not start from its
            network.
    """
    place = f"warm_start={path}"
    parts = {
        "this config's learner": learner.state_dict(),
        "the checkpoint's learner": _learner_in(state, place),
    }
    for who, part in parts.items():
        others = (o for o in _INSTEAD_OF_THE_NETWORK if any(n.startswith(f"{o}.") for n in part))
        own = next(others, None)
        if own is not None:
            raise UserError(
                f"{place}: accepted is an algorithm that starts from its network, such as maml; "
                f"{who} starts from {own} instead"
            )
    own_network, found = (
        {name: values for name, values in part.items() if name.startswith("network.")}
        for part in parts.values()
    )
    _require_same(own_network, found, place)
    learner.load_state_dict(found, strict=False)


def _learner_in(state: dict[str, Any], place: str) -> dict[str, Any]:
    if "learner" not in state:
        raise UserError(f"{place}: has no learner in it; accepted is a run's checkpoint")
    found: dict[str, Any] = state["learner"]
    return found


def _require_same(own: dict[str, Any], found: dict[str, Any], place: str) -> None:
    for name in [*own, *found]:
        if name not in found:
            raise _other(place, name, f"lacks {name}, which this config's learner has")
        if name not in own:
            raise _other(place, name, f"has {name}, which this config's learner lacks")
        if isinstance(own[name], Tensor) and own[name].shape != found[name].shape:
            shapes = f"{list(found[name].shape)}, this config's learner {list(own[name].shape)}"
            raise _other(place, name, f"has {name} of shape {shapes}")


def _other(place: str, name: str, difference: str) -> UserError:
    if name.startswith("network."):
        return UserError(f"{place}: has another architecture: it {difference}")
    return UserError(
        f"{place}: is from another algorithm or other options: it {difference}; "
        "accepted is a checkpoint of this config's algorithm"
    )
