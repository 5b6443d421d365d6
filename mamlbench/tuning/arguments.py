"""What the words `tune=...` and `hydra/sweeper=optuna` on a command line come to."""

from __future__ import annotations

from collections.abc import Sequence

from mamlbench.config.overrides import key_of, parsed
from mamlbench.config.tree import ConfigTree
from mamlbench.errors import UserError

_SWEEPER = "hydra/sweeper=optuna"


def with_search(arguments: Sequence[str]) -> list[str]:
    """The arguments; each of `tune=x` and the sweeper brings the other, if it is not there.

    The sweeper brings the space of the algorithm, where that has one.

    Raises:
        UserError: a search without `-m`.
    """
    if "tune=null" in arguments:  # only what is typed is searched
        return [argument for argument in arguments if argument != "tune=null"]
    line = parsed(arguments)
    keys = set(map(key_of, line.overrides))
    if "hydra.sweeper.trial" in keys:  # a single run: the job of one of the trials
        return list(arguments)
    if "tune" not in keys and _SWEEPER not in line.overrides:
        return list(arguments)
    if not line.multirun:
        raise UserError(
            f"{' '.join(o for o in line.overrides if 'tune=' in o or o == _SWEEPER)}: "
            "a search is a sweep, which takes -m"
        )
    if "hydra/sweeper" not in keys:
        return [*arguments, _SWEEPER]
    tree = ConfigTree(arguments)
    algorithm = str(tree.compose(arguments).hydra.runtime.choices.algorithm)
    own = "tune" not in keys and algorithm in tree.choices("tune")
    return [*arguments, f"tune={algorithm}"] if own else list(arguments)
