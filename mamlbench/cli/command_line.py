"""Checks the command line as typed, and rewrites it for Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mamlbench.config.overrides import key_and_value, key_of, list_of, parsed, sweep_of
from mamlbench.config.tree import ConfigTree, own_root
from mamlbench.errors import UserError


def for_hydra(arguments: Sequence[str]) -> list[str]:
    """Add the overrides that a table, a checkpoint or a search in the arguments implies."""
    # imported here, because --help does not need them
    from mamlbench.run.made_by import with_overrides_of_checkpoint
    from mamlbench.sweeps.table import arguments_of_table
    from mamlbench.tuning.arguments import with_search

    found = with_overrides_of_checkpoint(arguments_of_table(arguments))
    return options_of_each_job(in_order(with_search(found)))


def in_order(arguments: list[str]) -> list[str]:
    """Put flags first, as Hydra requires, and drop the plus of `+group=x` for every config group.

    All groups are in the defaults list, so Hydra refuses the plus, but people type it.
    """
    groups, flags, overrides = ConfigTree(arguments).groups(), list(arguments), []
    for override in parsed(arguments).overrides:
        flags.remove(override)
        overrides.append(override.removeprefix("+") if key_of(override) in groups else override)
    return flags + overrides


def refuse_what_misplaces_runs(arguments: Sequence[str]) -> None:
    """Refuse Hydra features that a run would ignore or that would misplace its files.

    Raises:
        UserError: another primary config, a working folder for each job, a sweep without -m, or a
            user's config file with the name of one of mamlbench's, which Hydra would use instead.
    """
    line = parsed(arguments)
    typed = [o for o in line.overrides if key_of(o) == "hydra.searchpath"]
    urls = [url for override in typed for url in list_of(override, str)]
    folders = [url.removeprefix("file://") for url in urls if url.startswith("file://")]
    for own in map(Path, [*filter(None, [line.config_dir]), *folders]):
        for path in sorted(own.rglob("*.yaml")):
            if (own_root() / path.relative_to(own)).is_file():
                why = "mamlbench has a file of this name, which takes precedence"
                raise UserError(f"{path}: {why}; accepted is another name")
    if line.config_name is not None or line.config_path is not None:
        flag, value = "--config-name", line.config_name
        if value is None:
            flag, value = "--config-path", line.config_path
        # tests, sweeps and cluster jobs always compose mamlbench's primary config
        accepted = "--config-dir=FOLDER experiment=NAME, for FOLDER/experiment/NAME.yaml"
        raise UserError(f"{flag}={value}: accepted is {accepted}")
    for override in line.overrides:
        key, value = key_and_value(override)
        if key == "hydra.job.chdir" and value.lower() != "false":
            raise UserError(f"{override}: accepted is outputs=FOLDER, the folder of all runs")
        if key == "hydra.mode" and value != "RUN":
            raise UserError(f"{override}: accepted is -m")


def options_of_each_job(arguments: Sequence[str]) -> list[str]:
    """In a sweep over a group, turn each fixed option into a sweep of one value.

    Hydra first composes a config from the fixed overrides alone, with the default choice of each
    swept group. It would refuse `algorithm=emaml,bmaml algorithm.particles=5`, because MAML has no
    particles.
    """
    line = parsed(arguments)
    groups = ConfigTree(arguments).groups() if line.multirun else []
    swept = {o for o in line.overrides if line.multirun and sweep_of(o) is not None}
    if not any(key_of(override) in groups for override in swept):
        return list(arguments)
    return [
        _of_each_job(argument) if argument in line.overrides and argument not in swept else argument
        for argument in arguments
    ]


def _of_each_job(override: str) -> str:
    key, _, value = override.partition("=")  # the key keeps its + or ~
    is_option = "." in key and value and not key.startswith(("~", "hydra."))
    if value.strip().lower() == "null":  # Hydra refuses null in choice(...)
        return override
    return f"{key}=choice({value})" if is_option else override
