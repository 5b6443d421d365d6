"""A run's unique name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunName:
    """A run's name, in several forms.

    Attributes:
        algorithm: name of the algorithm's config.
        dataset: name of the dataset's config.
        setting: the dataset's name for it, such as `5way1shot`.
        hash: hash of everything that affects the result.
        seed: the run's seed.
    """

    algorithm: str
    dataset: str
    setting: str
    hash: str
    seed: int

    @property
    def label(self) -> str:
        """The name for people."""
        return f"{self.algorithm} {self.dataset} {self.setting} seed {self.seed}"

    @property
    def id(self) -> str:
        """The id for services that store runs, such as W&B."""
        return f"{self.hash}-seed{self.seed}"

    @property
    def path(self) -> Path:
        """The run's folder below `outputs/<name>`: the same for equal runs, never for others."""
        return Path(self.algorithm, self.dataset, self.setting, self.hash, f"seed{self.seed}")

    @classmethod
    def of_path(cls, folder: Path) -> RunName | None:
        """The name of the run in this folder; None if the path does not end like a run's."""
        *_, algorithm, dataset, setting, hash_, last = (*[""] * 5, *folder.absolute().parts)
        seed = re.fullmatch(r"seed(-?\d+)", last)
        if seed is None or not re.fullmatch("[0-9a-f]{8}", hash_):
            return None
        return cls(algorithm, dataset, setting, hash_, int(seed[1]))
