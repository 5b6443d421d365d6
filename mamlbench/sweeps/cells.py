"""Finds the folder of each run of a sweep, and whether it is finished, without building the runs.

Hydra takes a tenth of a second or more to compose a config, so this is done once for each choice of
groups; a cell's other values are then set with Hydra's own function. Each dataset is built once,
and no network.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from mamlbench.config.budget import within_budget
from mamlbench.config.build import build
from mamlbench.config.config_hash import config_hash
from mamlbench.config.overrides import other_test
from mamlbench.run.folder import RunFolder
from mamlbench.run.name import RunName

# With these, only the run knows its folder: it depends on a file's content, or there is none.
_NEEDS_ITS_RUN = ("checkpoint", "warm_start", "analysis")


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        overrides: the run's overrides.
        label: the run's name for people.
        folder: the run's folder; None if only the run itself knows it.
        metric: the metric of the dataset's objective.
        restart: whether to start over.
        hardware: the config's `hardware` node.
        content: returns the hash of the present data; None if there are none.
        other_tests: returns the cells of `also_test`, once there is a checkpoint to test.
    """

    overrides: tuple[str, ...]
    label: str
    folder: RunFolder | None
    metric: str
    restart: bool
    hardware: dict[str, Any]
    content: Callable[[], str | None] = lambda: None
    other_tests: Callable[[], Sequence[Cell]] = tuple

    @property
    def is_finished(self) -> bool:
        """Whether the run and its additional tests are finished."""
        if self.folder is None or self.restart or not self.folder.summary.is_file():
            return False
        return all(test.is_finished for test in self.other_tests())


class CellReader:
    """Makes cells from overrides.

    Args:
        hydra_context: Hydra's context, with its config loader.
        master: the sweep's own config.
    """

    def __init__(self, hydra_context: HydraContext, master: DictConfig) -> None:
        loader: Any = hydra_context.config_loader
        self._loader: ConfigLoaderImpl = loader
        self._master = master
        hydra: Any = OmegaConf.to_container(master.hydra.overrides.hydra)
        name = master.hydra.job.config_name
        _, self._repository = loader._parse_overrides_and_create_caching_repo(name, hydra)
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, Override] = {}
        self._choosing: dict[str, bool] = {}
        self._composed: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}
        self._reused: dict[tuple[tuple[str, ...], ...], tuple[DictConfig, tuple[str, ...]]] = {}
        self._datasets: dict[str, tuple[str, str, Callable[[], str | None]]] = {}
        self._cells: dict[tuple[str, ...], Cell] = {}

    def read(self, overrides: Sequence[str]) -> Cell:
        """The cell with these overrides.

        Raises:
            hydra.errors.HydraException: an override does not fit the config tree.
        """
        key = tuple(overrides)
        if key not in self._cells:
            self._cells[key] = self._read(key)
        return self._cells[key]

    def _read(self, overrides: tuple[str, ...]) -> Cell:
        config, choices = self._config(overrides)
        try:
            values, _ = within_budget(config)
            restart, hardware = bool(values["restart"]), values["hardware"]
            if any(values.get(name) for name in _NEEDS_ITS_RUN):
                return Cell(overrides, " ".join(overrides), None, "", restart, hardware)
            hash_ = config_hash(values, checkpoint=None)
            label, metric, folder, content = self._place(values, choices, hash_)
            made_by = [text for text in overrides if not self._parse(text).is_hydra_override()]
            tests = [other_test(made_by, test, str(folder.path)) for test in values["also_test"]]
        except Exception:  # a user's dataset can raise anything; the run itself reports the error
            return Cell(overrides, " ".join(overrides), None, "", False, {})
        return Cell(
            *(overrides, label, folder, metric, restart, hardware, content),
            other_tests=lambda: [self._test(test) for test in tests],
        )

    def _test(self, overrides: Sequence[str]) -> Cell:
        """The cell of an additional test, after training; after an error, an unfinished cell."""
        from mamlbench.run.result_hash import result_hash  # imports torch: seconds

        try:
            config, choices = self._config(tuple(overrides))
            values, _ = within_budget(config)
            label, metric, folder, content = self._place(values, choices, result_hash(values))
        except Exception:  # as above
            return Cell(tuple(overrides), " ".join(overrides), None, "", False, {})
        restart, hardware = values["restart"], values["hardware"]
        return Cell(tuple(overrides), label, folder, metric, restart, hardware, content)

    def _place(
        self, values: dict[str, Any], choices: dict[str, str], hash_: str
    ) -> tuple[str, str, RunFolder, Callable[[], str | None]]:
        """A run's label, metric and folder, and the function that hashes its data."""
        algorithm, dataset = str(choices["algorithm"]), str(choices["dataset"])
        setting, metric, content = self._dataset(values["dataset"])
        run = RunName(algorithm, dataset, setting, hash_, values["seed"])
        return run.label, metric, RunFolder.of(values, run), content

    def _config(self, overrides: tuple[str, ...]) -> tuple[DictConfig, dict[str, str]]:
        groups = tuple(text for text in overrides if self._chooses(text))
        # Hydra's own options do not belong to a run
        values = tuple(
            text
            for text in overrides
            if text not in groups and not self._parse(text).is_hydra_override()
        )
        if groups not in self._composed:
            self._composed[groups] = self._compose(groups)
        config, choices = self._composed[groups]
        parsed = [self._parse(text) for text in values]
        if not all(map(_replaces, parsed)):
            config = copy.deepcopy(config)
            self._loader._apply_overrides_to_config(parsed, config)
            return config, choices
        # the previous cell with these keys can be reused: this one replaces all values that it set
        keys = groups, tuple(value.key_or_group for value in parsed)
        config, there = self._reused.get(keys) or (copy.deepcopy(config), ())
        new = [self._parse(text) for text in values if text not in there]
        self._loader._apply_overrides_to_config(new, config)
        self._reused[keys] = config, values
        return config, choices

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            self._parsed[text] = self._parser.parse_override(text)
        return self._parsed[text]

    def _chooses(self, text: str) -> bool:
        """Whether Hydra takes an override as a choice from a config group."""
        if text not in self._choosing:
            parsed = self._parse(text)
            is_group = self._repository.group_exists(parsed.key_or_group)
            self._choosing[text] = is_group and not isinstance(parsed.value(), dict)
        return self._choosing[text]

    def _compose(self, groups: tuple[str, ...]) -> tuple[DictConfig, dict[str, str]]:
        config = self._loader.load_sweep_config(self._master, list(groups))
        choices: Any = OmegaConf.to_container(config.hydra.runtime.choices)
        with read_write(config), open_dict(config):
            del config["hydra"]
        return config, choices

    def _dataset(self, node: dict[str, Any]) -> tuple[str, str, Callable[[], str | None]]:
        """A dataset's setting, its objective's metric, and the function that hashes its data."""
        key = json.dumps(node, sort_keys=True)
        if key not in self._datasets:
            dataset = build(node, "dataset")
            setting, metric = dataset.setting, dataset.objective.metric
            self._datasets[key] = setting, metric, cache(dataset.content)
        return self._datasets[key]


def _replaces(override: Override) -> bool:
    """Whether an override replaces an earlier value completely, instead of merging with it."""
    return override.type is OverrideType.CHANGE and not isinstance(override.value(), dict)
