"""Overrides as Hydra reads them: keys, quoting, a command line, several lists of them in one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any


def key_of(override: str) -> str:
    """`dataset.shots` of `+dataset.shots=5`."""
    return override.lstrip("+~").partition("=")[0]


def quoted(value: Any) -> str:
    """A value as an override has it: text in quotes, lists in brackets."""
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(quoted, value)) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def command_line(overrides: Iterable[str]) -> str:
    """`mamlbench` with these overrides, as a shell takes it."""
    return " ".join(["mamlbench", *map(_in_a_shell, overrides)])


def _in_a_shell(override: str) -> str:
    # Hydra's own quotes are single ones
    if "'" in override and not set(override) & set('"$`\\!'):
        return f'"{override}"'
    return shlex.quote(override)


def over(overrides: Iterable[str], later: Iterable[str]) -> list[str]:
    """Both, of which the later has the last word: of each key, the last override alone is left."""
    return list({key_of(override): override for override in (*overrides, *later)}.values())


def other_test(made_by: Sequence[str], test: Sequence[str], checkpoint: str) -> list[str]:
    """Overrides that test a run's checkpoint otherwise.

    Args:
        made_by: the overrides of the run.
        test: the overrides that make the other test.
        checkpoint: the run's folder.
    """
    kept = [o for o in made_by if key_of(o) not in ("checkpoint", "warm_start", "also_test")]
    return over(kept, [*test, f"checkpoint={quoted(checkpoint)}"])
