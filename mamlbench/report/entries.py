"""Runs that give one number together: the seeds of one setting."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mamlbench.report.matching import Match
from mamlbench.report.runs import Run
from mamlbench.report.settings import SCALED, SIZES, flat

_SHOWN_OPTIONS = 4


@dataclass(frozen=True)
class Entry:
    """Runs of one setting with different seeds.

    Attributes:
        runs: in the order of their seeds.
        shortened: what they did less of than their cell asks for.
        otherwise_tested: options of the protocol in which they differ: the cell's, theirs.
    """

    runs: tuple[Run, ...]
    shortened: tuple[str, ...] = ()
    otherwise_tested: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def first(self) -> Run:
        """The run of the lowest seed."""
        return self.runs[0]

    @property
    def code(self) -> str:
        """The code that they ran, with the seeds of each where it was not one."""
        seeds: dict[str, list[str]] = defaultdict(list)
        for run in self.runs:
            seeds[run.short_code].append(str(run.seed))
        if len(seeds) == 1:
            return next(iter(seeds))
        parts = [f"{code} (seed {', '.join(of)})" for code, of in seeds.items()]
        return "seeds of different code: " + ", ".join(parts)

    @property
    def has_one_code(self) -> bool:
        """Whether all ran the same code."""
        return len({run.code for run in self.runs}) == 1


def entries_of_cell(matches: Sequence[Match]) -> list[Entry]:
    """What to show in a cell: the runs of full length and its own protocol, or the nearest to it.

    Of runs shorter than the cell asks for, the longest of each code.
    """
    own = [m for m in matches if not m.otherwise_tested] or list(matches)
    whole = [m for m in own if not m.shortened] or _longest(own)
    by_run = {id(m.run): m for m in whole}
    found = []
    for runs in _by_setting(m.run for m in whole):
        match = by_run[id(runs[0])]
        found.append(Entry(tuple(runs), match.shortened, match.otherwise_tested))
    return found


def entries_of_folder(runs: Iterable[Run]) -> list[Entry]:
    """All settings, in the order in which they come."""
    return [Entry(tuple(group)) for group in _by_setting(runs)]


def labels(entries: Sequence[Entry]) -> list[str]:
    """The algorithm of each entry, and the options by which it differs from others of it."""
    options = [flat(entry.first.config) for entry in entries]
    found = []
    for entry, own in zip(entries, options, strict=True):
        alike = [
            other
            for e, other in zip(entries, options, strict=True)
            if e.first.algorithm == entry.first.algorithm
        ]
        apart = [
            name
            for name in dict.fromkeys(name for other in alike for name in other)
            if any(other.get(name) != own.get(name) for other in alike)
        ]
        apart = sorted((n for n in apart if n not in SCALED and n not in SIZES), key=_shown_first)
        shown = [f"{n.split('.', 1)[1]}={_text(own.get(n))}" for n in apart[:_SHOWN_OPTIONS]]
        more = [f"and {len(apart) - len(shown)} more"] if len(apart) > len(shown) else []
        found.append(" ".join([entry.first.algorithm, *shown, *more]))
    return found


def _longest(matches: Sequence[Match]) -> list[Match]:
    longest: dict[str, int] = defaultdict(int)
    for match in matches:
        longest[match.run.code] = max(longest[match.run.code], match.run.iterations)
    return [m for m in matches if m.run.iterations == longest[m.run.code]]


def _by_setting(runs: Iterable[Run]) -> list[list[Run]]:
    """Seeds of one setting together; those of different code too, if no seed is there twice."""
    settings: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        tests_only = run.config.get("checkpoint") is not None
        key = json.dumps([flat(run.config), tests_only, run.iterations], sort_keys=True)
        settings[key].append(run)
    found = []
    for group in settings.values():
        parts: list[list[Run]] = []
        for run in sorted(group, key=lambda r: (r.seed, r.folder.as_posix())):
            home = (p for p in parts if p[0].code == run.code and _lacks_seed(p, run))
            part = next(home, None)
            if part is None:
                parts.append([run])
            else:
                part.append(run)
        seeds = [run.seed for part in parts for run in part]
        found += parts if len(set(seeds)) < len(seeds) else [[run for p in parts for run in p]]
    return [sorted(part, key=lambda run: run.seed) for part in found]


def _lacks_seed(runs: Sequence[Run], run: Run) -> bool:
    return all(other.seed != run.seed for other in runs)


def _shown_first(name: str) -> int:
    order = ("algorithm", "network", "dataset", "training", "evaluation")
    return order.index(name.split(".")[0])


def _text(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value
