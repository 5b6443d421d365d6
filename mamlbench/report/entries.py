"""Groups of runs that give one result together: the seeds of one setting."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mamlbench.config.settings import SCALED, SIZES, completed
from mamlbench.report.matching import Match
from mamlbench.report.runs import Run

_SHOWN_OPTIONS = 4
_BESIDE = ("hardware.precision", "warm_start", "data_sha256", "trained_on", "mujoco")
"""Options of a setting outside the config's groups; labels show all of these that differ."""
_UNKNOWN = -1
_AS_TRAINED = {
    "evaluation.shots": "dataset.shots",
    "evaluation.inner_steps": "algorithm.inner_steps",
}
"""If a protocol's option is null, the test uses the option named here."""


@dataclass(frozen=True)
class Entry:
    """Runs of one setting with different seeds.

    Attributes:
        runs: sorted by seed.
        shortened: what they did less of than their cell asks for, in words.
        otherwise_tested: protocol options that differ, with the cell's value and theirs.
    """

    runs: tuple[Run, ...]
    shortened: tuple[str, ...] = ()
    otherwise_tested: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def first(self) -> Run:
        """The run with the lowest seed."""
        return self.runs[0]

    @property
    def fewest_iterations(self) -> int | None:
        """The fewest outer steps of any seed; None unless all are recorded."""
        known = [run.iterations for run in self.runs if run.iterations is not None]
        return min(known) if len(known) == len(self.runs) else None

    @property
    def iterations(self) -> str:
        """Outer steps in words; the fewest and the most where seeds differ."""
        fewest = self.fewest_iterations
        if fewest is None:
            return "not recorded"
        most = max(run.iterations or 0 for run in self.runs)
        return f"{fewest:,}" if fewest == most else f"{fewest:,}–{most:,}"

    @property
    def code(self) -> str:
        """The code of the runs; where it differs, each with its seeds."""
        seeds: dict[str, list[str]] = defaultdict(list)
        for run in self.runs:
            seeds[run.short_code].append(str(run.seed))
        if len(seeds) == 1:
            return next(iter(seeds))
        parts = [f"{c} (seed{'s' * (len(of) > 1)} {', '.join(of)})" for c, of in seeds.items()]
        return "the code differs by seed: " + ", ".join(parts)

    @property
    def has_one_code(self) -> bool:
        """Whether all runs used the same code."""
        return len({run.code for run in self.runs}) == 1


def data_words(entry: Entry, entries: Iterable[Entry]) -> str | None:
    """Which data an entry used, if entries of the same dataset used different data."""
    own, every = entry.first.summary, (e.first.summary for e in entries)
    hashes = {summary.data_sha256 for summary in every if summary.dataset == own.dataset}
    if len(hashes) < 2:
        return None
    return f"{own.dataset} data with sha256 {str(own.data_sha256)[:12]}"


def entries_of_cell(matches: Sequence[Match]) -> list[Entry]:
    """What a cell shows: full-length runs tested by its own protocol, or the nearest to that.

    Runs of other protocols count only if no run has the cell's. If all runs are shortened, the
    longest of each code are shown.
    """
    own = [m for m in matches if not m.otherwise_tested] or list(matches)
    by_run = {id(m.run): m for m in own}
    found = []
    for runs in _by_setting(m.run for m in own):
        of_runs = [by_run[id(run)] for run in runs]
        shortened = dict.fromkeys(words for match in of_runs for words in match.shortened)
        found.append(Entry(tuple(runs), tuple(shortened), of_runs[0].otherwise_tested))
    return [entry for entry in found if not entry.shortened] or _longest(found)


def entries_of_folder(runs: Iterable[Run]) -> list[Entry]:
    """The runs grouped by setting, in order of first appearance."""
    return [Entry(tuple(group)) for group in _by_setting(runs)]


def labels(entries: Sequence[Entry]) -> list[str]:
    """Name each entry by its algorithm and the options in which that algorithm's entries differ.

    Names that are still equal get, as far as these differ, the remaining options, the iterations,
    the number of test tasks and the code.
    """
    options = completed([entry.first.options for entry in entries])
    found = [entry.first.summary.algorithm for entry in entries]
    named = zip(entries, options, _alike(found, options), strict=True)
    found = [_label(*of) for of in named]
    rest = zip(options, _alike(found, options), strict=True)
    found = _told_apart(found, [" ".join(_shown(own, _apart(own, them))) for own, them in rest])
    for words in (_iterations, _test_tasks, lambda entry: entry.code):
        found = _told_apart(found, [words(entry) for entry in entries])
    return found


def _alike(
    names: Sequence[str], options: Sequence[Mapping[str, Any]]
) -> list[list[Mapping[str, Any]]]:
    """For each name, the options of all entries with that name."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for name, own in zip(names, options, strict=True):
        found[name].append(own)
    return [found[name] for name in names]


def _label(entry: Entry, own: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    apart = _apart(own, others)
    of_groups = [name for name in apart if name not in _BESIDE]
    names = of_groups[:_SHOWN_OPTIONS] + [name for name in apart if name in _BESIDE]
    more = [f"and {len(apart) - len(names)} more"] if len(apart) > len(names) else []
    untrained = ["untrained"] if entry.fewest_iterations == 0 else []
    return " ".join([*untrained, entry.first.summary.algorithm, *_shown(own, names), *more])


def _apart(own: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options in which any of the others differs, except sizes; those in groups first."""
    apart = [
        name
        for name in dict.fromkeys(name for other in others for name in other)
        if name not in SCALED
        and name not in SIZES
        and any(other.get(name) != own.get(name) for other in others)
    ]
    of_groups = sorted((name for name in apart if name not in _BESIDE), key=_shown_first)
    return of_groups + [name for name in apart if name in _BESIDE]


def _shown(own: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    return [_option(name, _value(own, name)) for name in names]


def _told_apart(names: Sequence[str], words: Sequence[str]) -> list[str]:
    """Append its words to each name that occurs with different words."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, word in zip(names, words, strict=True):
        found[name].add(word)
    return [
        f"{name}, {word}" if len(found[name]) > 1 else name
        for name, word in zip(names, words, strict=True)
    ]


def _iterations(entry: Entry) -> str:
    known = entry.fewest_iterations is not None
    return f"{entry.iterations} iterations" if known else f"iterations {entry.iterations}"


def _test_tasks(entry: Entry) -> str:
    tasks = entry.first.config["evaluation"].get("tasks")
    return "test tasks not recorded" if tasks is None else f"{tasks:,} test tasks"


def _longest(entries: Sequence[Entry]) -> list[Entry]:
    """The longest entries of each code; those of unknown length only if all are unknown."""
    longest: dict[str, int] = defaultdict(lambda: _UNKNOWN)
    for run in (run for entry in entries for run in entry.runs):
        longest[run.code] = max(longest[run.code], _length(run))
    return [e for e in entries if any(_length(run) == longest[run.code] for run in e.runs)]


def _length(run: Run) -> int:
    return _UNKNOWN if run.iterations is None else run.iterations


def _by_setting(runs: Iterable[Run]) -> list[list[Run]]:
    """Group the runs of each setting; by code too if a seed occurs more than once."""
    settings: dict[str, list[Run]] = defaultdict(list)
    listed = list(runs)
    for run, options in zip(listed, completed([run.options for run in listed]), strict=True):
        key = json.dumps(_setting(run, options), sort_keys=True)
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


def _setting(run: Run, options: dict[str, Any]) -> list[Any]:
    """What seeds of one setting have in common; may modify `options`."""
    if options["warm_start"] is not None:  # seeds may start from the seeds of another setting
        options["warm_start"] = re.sub(r"\bseed\d+(?=/|$)", "seed*", str(options["warm_start"]))
    tests_only = run.config.get("checkpoint") is not None
    # seeds that stopped early at different steps all did what their setting asks for
    of_its_own = options.get("training.patience") is not None and not run.summary.of_unfinished
    return [options, tests_only, None if of_its_own else run.iterations]


def _lacks_seed(runs: Sequence[Run], run: Run) -> bool:
    return all(other.seed != run.seed for other in runs)


def _shown_first(name: str) -> tuple[bool, int]:
    """Classes first, then by group."""
    order = ("algorithm", "network", "dataset", "training", "evaluation")
    group, _, option = name.partition(".")
    return option != "_target_", order.index(group)


def _value(options: Mapping[str, Any], name: str) -> Any:
    value = options.get(name)
    return options.get(_AS_TRAINED[name]) if value is None and name in _AS_TRAINED else value


def _option(name: str, value: Any) -> str:
    """`inner_lr=0.4`; for a class, its group and name: `network=Conv4`."""
    group, _, option = name.partition(".")
    text = json.dumps(value) if not isinstance(value, str) else value
    if option == "_target_":
        return f"{group}={text.rpartition('.')[2]}"
    tested = "tested with " if name in _AS_TRAINED else ""
    return f"{tested}{option or name}={text[:12] if name == 'data_sha256' else text}"
