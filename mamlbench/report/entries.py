"""Runs that give one number together: the seeds of one setting."""

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
"""Of a setting beside its config's groups; labels show them always."""
_UNKNOWN = -1
_AS_TRAINED = {
    "evaluation.shots": "dataset.shots",
    "evaluation.inner_steps": "algorithm.inner_steps",
}
"""Where an option of the protocol is null, the test takes this one."""


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
    def fewest_iterations(self) -> int | None:
        """Outer steps of the seed with the fewest; None where those of one are not recorded."""
        known = [run.iterations for run in self.runs if run.iterations is not None]
        return min(known) if len(known) == len(self.runs) else None

    @property
    def iterations(self) -> str:
        """Outer steps in words; of seeds that stopped apart the fewest and the most."""
        fewest = self.fewest_iterations
        if fewest is None:
            return "not recorded"
        most = max(run.iterations or 0 for run in self.runs)
        return f"{fewest:,}" if fewest == most else f"{fewest:,}–{most:,}"

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


def data_words(entry: Entry, entries: Iterable[Entry]) -> str | None:
    """Which data an entry is of, where others of the same dataset are of other data."""
    own, every = entry.first.summary, (e.first.summary for e in entries)
    hashes = {summary.data_sha256 for summary in every if summary.dataset == own.dataset}
    if len(hashes) < 2:
        return None
    return f"{own.dataset}, data of sha256 {str(own.data_sha256)[:12]}"


def entries_of_cell(matches: Sequence[Match]) -> list[Entry]:
    """What to show in a cell: the runs of full length and its own protocol, or the nearest to it.

    Of runs shorter than the cell asks for, the longest of each code.
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
    """All settings, in the order in which they come."""
    return [Entry(tuple(group)) for group in _by_setting(runs)]


def labels(entries: Sequence[Entry]) -> list[str]:
    """The algorithm of each entry, and the options by which it differs from others of it.

    Where the few shown are the same too: the others in which those differ, how long it was
    trained, on how much it was tested, its code.
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
    """For each name, the options of all that have it."""
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
    """The options in which one of the others differs, but for sizes; of groups first."""
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
    """The names; those that are there more than once with their words, where these differ."""
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
    """Of each code the longest; unknown lengths, where there are no others."""
    longest: dict[str, int] = defaultdict(lambda: _UNKNOWN)
    for run in (run for entry in entries for run in entry.runs):
        longest[run.code] = max(longest[run.code], _length(run))
    return [e for e in entries if any(_length(run) == longest[run.code] for run in e.runs)]


def _length(run: Run) -> int:
    return _UNKNOWN if run.iterations is None else run.iterations


def _by_setting(runs: Iterable[Run]) -> list[list[Run]]:
    """Seeds of one setting together; those of different code too, if no seed is there twice."""
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
    """What seeds of one setting have in common; `options` may be changed."""
    if options["warm_start"] is not None:  # seeds may have begun from seeds of one other setting
        options["warm_start"] = re.sub(r"\bseed\d+(?=/|$)", "seed*", str(options["warm_start"]))
    tests_only = run.config.get("checkpoint") is not None
    # seeds that lost patience at different steps did what their setting asks for, each of them
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
    """`inner_lr=0.4`; of a class its group and name alone, `network=Conv4`."""
    group, _, option = name.partition(".")
    text = json.dumps(value) if not isinstance(value, str) else value
    if option == "_target_":
        return f"{group}={text.rpartition('.')[2]}"
    tested = "tested with " if name in _AS_TRAINED else ""
    return f"{tested}{option or name}={text[:12] if name == 'data_sha256' else text}"
