"""Which checkpoints a run tests, and what they record about their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mamlbench import checkpoint
from mamlbench.config.build import construct
from mamlbench.config.settings import SCALED, SIZES, flat
from mamlbench.evaluation import Protocol
from mamlbench.run.name import RunName

_LEARNER = ("training", "algorithm", "network")


def tested_checkpoints(values: Mapping[str, Any]) -> list[Path]:
    """The checkpoints that a run tests instead of training, best first; empty if it trains.

    Raises:
        UserError: `checkpoint` names nothing that can be tested.
    """
    path = values["checkpoint"]
    if path is None:
        return []
    protocol = construct(Protocol, values["evaluation"], "evaluation")
    return checkpoint.resolve_best(Path(path), protocol.kept, protocol.select == "last")


def selected_in_words(protocol: Protocol, chosen: Sequence[Path]) -> str:
    """What was tested, as a value of `evaluation.select`, which may differ from the one given.

    A run without meta-validation has no best checkpoint, and a tested folder may lack one.
    """
    if not chosen:
        return "last"
    if len(chosen) > 1:
        return f"top{len(chosen)}"
    best = protocol.select if protocol.by_training else "best"
    named = "best" if protocol.kept > 1 else protocol.select
    return {"best.pt": best, "checkpoint.pt": "last"}.get(chosen[0].name, named)


def about_training(run: RunName, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint records about the run that writes it."""
    names = {n: v for n, v in asdict(run).items() if n != "hash"}  # the hash depends on the test
    length = config["training"]["iterations"]
    return {**names, "iterations": length, "options": flat(config)}


def trained_in(state: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any] | None:
    """A tested checkpoint's `about_training`, with only the learner's options that differ now.

    None for older checkpoints, which lack this record.
    """
    if state.get("run") is None:
        return None
    told = dict(state["run"])
    own = flat(config, _LEARNER)
    options = {n: v for n, v in told.pop("options", {}).items() if n.split(".")[0] in _LEARNER}
    of_length = SIZES.keys() | SCALED
    otherwise = {n: v for n, v in options.items() if n not in of_length and own.get(n) != v}
    return told | {"otherwise": otherwise}


def is_of_unfinished(path: Path) -> bool:
    """Whether a checkpoint's run is unfinished."""
    return not (path.parent / "summary.json").is_file()
