"""Handles `tune=...` and `hydra/sweeper=optuna` on a command line."""

from __future__ import annotations

from collections.abc import Sequence

from mamlbench.config.overrides import key_of, parsed
from mamlbench.errors import UserError

_SWEEPER = "hydra/sweeper=optuna"


def with_search(arguments: Sequence[str]) -> list[str]:
    """Add the Optuna sweeper if `tune=x` names a search space; drop `tune=null`.

    Raises:
        UserError: a search without `-m`.
    """
    arguments = [argument for argument in arguments if argument != "tune=null"]
    line = parsed(arguments)
    keys = set(map(key_of, line.overrides))
    if "hydra.sweeper.trial" in keys:  # a single run: the job of one trial
        return list(arguments)
    typed = [o for o in line.overrides if key_of(o) == "tune" or o == _SWEEPER]
    if typed and not line.multirun:
        raise UserError(f"{' '.join(typed)}: a search is a sweep, which needs -m")
    brings = "tune" in keys and "hydra/sweeper" not in keys
    return [*arguments, *([_SWEEPER] if brings else [])]
