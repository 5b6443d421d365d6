"""Where a composed config came from."""

from __future__ import annotations

from omegaconf import DictConfig

# Hydra's words for what brings config files besides mamlbench's own: --config-dir, hydra.searchpath
CONFIG_DIR, SEARCHPATH = "command-line", "hydra.searchpath in command-line"


def config_sources(hydra: DictConfig, *providers: str) -> list[str]:
    """URLs of the folders and packages that these providers bring, from a config's `hydra` node.

    Without names, what all of them bring that are files.
    """
    sources = [s for s in hydra.runtime.config_sources if s.provider != "schema"]
    return [f"{s.schema}://{s.path}" for s in sources if s.provider in (providers or {s.provider})]


def missing_preset(hydra: DictConfig) -> str | None:
    """The preset that Hydra looked for and skipped; None where an experiment takes its place."""
    from hydra._internal.config_repository import ConfigRepository
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl

    choices = hydra.runtime.choices
    if choices.get("preset") is None or choices.get("experiment") is not None:
        return None
    path = ConfigSearchPathImpl()
    for url in config_sources(hydra):
        path.append(url, url)
    is_there = ConfigRepository(path).config_exists(f"preset/{choices.preset}")
    return None if is_there else str(choices.preset)
