"""What tells a run from every other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunName:
    """A run's names.

    Attributes:
        algorithm: name of its config.
        dataset: name of its config.
        setting: as the dataset calls it, such as `5way1shot`.
        hash: of all that changes its result.
        seed: its seed.
    """

    algorithm: str
    dataset: str
    setting: str
    hash: str
    seed: int

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.algorithm} {self.dataset} {self.setting} seed {self.seed}"

    @property
    def id(self) -> str:
        """For services that keep runs."""
        return f"{self.hash}-seed{self.seed}"

    @property
    def path(self) -> Path:
        """Its folder below `outputs/<name>`; equal runs meet in one, different ones never do."""
        return Path(self.algorithm, self.dataset, self.setting, self.hash, f"seed{self.seed}")

    @classmethod
    def of_path(cls, folder: Path) -> RunName | None:
        """The run whose folder this is; None where its last parts are no run's."""
        *_, algorithm, dataset, setting, hash_, last = (*[""] * 5, *folder.absolute().parts)
        seed = re.fullmatch(r"seed(-?\d+)", last)
        if seed is None or not re.fullmatch("[0-9a-f]{8}", hash_):
            return None
        return cls(algorithm, dataset, setting, hash_, int(seed[1]))
