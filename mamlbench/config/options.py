"""Top-level options of a run, outside the config groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamlbench.config.build import options_of
from mamlbench.config.tree import NODES, lacks
from mamlbench.errors import UserError, did_you_mean, one_of, require


@dataclass(frozen=True)
class Options:
    """The top-level options; `conf/config.yaml` explains each."""

    seed: int
    name: str
    outputs: str
    restart: bool
    checkpoint: str | None
    warm_start: str | None
    on_nan: str
    budget: str
    also_test: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        _require_relative_name(self.name)
        require(bool(self.outputs), "outputs", self.outputs, "a folder")
        one_of("on_nan", self.on_nan, ("stop", "skip"))
        if self.checkpoint is not None and self.warm_start is not None:
            accepted = "null, because checkpoint names what to test"
            raise UserError(f"warm_start={self.warm_start}: accepted is {accepted}")
        if not 0 <= self.seed < 2**64:  # torch's range
            raise UserError(f"seed={self.seed}: accepted is 0 to {2**64 - 1}")


def require_known(config: Mapping[str, Any], algorithm: str) -> None:
    """Refuse unknown top-level keys: Hydra accepts `+anything=1`, which only changes the hash.

    Raises:
        UserError: a key is unknown, a group is not a mapping, or the config of `algorithm` brings
            no evaluation protocol.
    """
    if "evaluation" not in config:
        raise UserError(lacks("evaluation", algorithm))
    known = [*Options.__annotations__, *NODES]
    for name in config:
        if name not in known:
            accepted = ", ".join(known) + did_you_mean(name, known)
            raise UserError(f"{name}: there is no such option; accepted: {accepted}")
        if name in NODES and config[name] is not None:
            options_of(config[name], name)


def _require_relative_name(name: str) -> None:
    """Check that a run's `name` is a folder below `outputs`.

    Raises:
        UserError: the name is empty, absolute, or contains `..`.
    """
    path = Path(name)
    if not name or path.is_absolute() or ".." in path.parts:
        raise UserError(f"name={name}: accepted is a folder name, such as default or paper/table1")
