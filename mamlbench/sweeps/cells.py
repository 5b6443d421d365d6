"""The runs of a sweep before any of them is built: which folder is whose, and which is finished.

Composing a config takes Hydra a tenth of a second and more, so it is done once for each choice of
groups; the single values of a cell are then set as Hydra sets them. Nothing imports torch for
each cell, nor builds a network.
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

# With one of these only the run itself can tell its folder, which a file's content names, or none.
_NEEDS_ITS_RUN = ("checkpoint", "warm_start", "analysis")


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        overrides: its part of the command line.
        label: the run's name, for people.
        folder: where it is kept; None where only the run itself can tell.
        metric: what the dataset is scored by.
        restart: whether it begins anew.
        hardware: its `hardware` node.
        content: gives the hash of the data that is there now; None where there is none.
        other_tests: gives those that `also_test` asks for, once there is a checkpoint to test.
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
        """Whether there is nothing to do."""
        if self.folder is None or self.restart or not self.folder.summary.is_file():
            return False
        return all(test.is_finished for test in self.other_tests())


class CellReader:
    """Tells of each cell what can be told from its config.

    Args:
        hydra_context: Hydra's.
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
        """The cell that these overrides make.

        Raises:
            hydra.errors.HydraException: an override that does not fit the config tree.
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
        except Exception:  # of a user's dataset, of many kinds: the run says what is wrong with it
            return Cell(overrides, " ".join(overrides), None, "", False, {})
        return Cell(
            *(overrides, label, folder, metric, restart, hardware, content),
            other_tests=lambda: [self._test(test) for test in tests],
        )

    def _test(self, overrides: Sequence[str]) -> Cell:
        """The test of a checkpoint that is there; of a mistake, one that is not finished."""
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
        """A run's name, what its dataset is scored by, its folder, and what hashes its data."""
        algorithm, dataset = str(choices["algorithm"]), str(choices["dataset"])
        setting, metric, content = self._dataset(values["dataset"])
        run = RunName(algorithm, dataset, setting, hash_, values["seed"])
        return run.label, metric, RunFolder.of(values, run), content

    def _config(self, overrides: tuple[str, ...]) -> tuple[DictConfig, dict[str, str]]:
        groups = tuple(text for text in overrides if self._chooses(text))
        # Hydra's own options are no part of a run
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
        # the cell before with these keys left nothing that this one does not replace
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
        """Whether an override chooses from a group, in Hydra's understanding."""
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
        """The setting of a dataset, the metric of its objective, and what gives its hash."""
        key = json.dumps(node, sort_keys=True)
        if key not in self._datasets:
            dataset = build(node, "dataset")
            setting, metric = dataset.setting, dataset.objective.metric
            self._datasets[key] = setting, metric, cache(dataset.content)
        return self._datasets[key]


def _replaces(override: Override) -> bool:
    """Whether nothing of a value that was set before is left after this one."""
    return override.type is OverrideType.CHANGE and not isinstance(override.value(), dict)
