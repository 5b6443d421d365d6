"""Where a composed config comes from."""

from __future__ import annotations

from omegaconf import DictConfig

# Hydra's provider names for the folders of --config-dir and of hydra.searchpath
CONFIG_DIR, SEARCHPATH = "command-line", "hydra.searchpath in command-line"


def config_sources(hydra: DictConfig, *providers: str) -> list[str]:
    """URLs of the providers' config folders and packages, from a config's `hydra` node.

    Without names, those of all providers except structured configs (`schema`).
    """
    sources = [s for s in hydra.runtime.config_sources if s.provider != "schema"]
    return [f"{s.schema}://{s.path}" for s in sources if s.provider in (providers or {s.provider})]


def missing_preset(hydra: DictConfig) -> str | None:
    """The preset that Hydra did not find; None if it exists or an experiment replaces it."""
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
