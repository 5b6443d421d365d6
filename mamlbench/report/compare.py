"""Two runs side by side: what differs in their configs, and in their results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mamlbench import metrics
from mamlbench.errors import UserError
from mamlbench.report.paired import Difference, difference, why_not
from mamlbench.report.runs import Run, read_run
from mamlbench.report.settings import differences, flat, option_text
from mamlbench.report.sheets import Sheet


def compare(first: Path, second: Path, strict: bool = False) -> list[Sheet]:
    """What differs between two runs.

    Raises:
        UserError: a folder without a finished run; with `strict`, runs that are not comparable.
    """
    one, other = _read(first), _read(second)
    reason = why_not(one, other)
    if reason is not None and strict:
        raise UserError(f"{first} and {second} are not comparable: {reason}")
    return [_configs(one, other), _results(one, other, reason)]


def _read(folder: Path) -> Run:
    try:
        return read_run(folder)
    except UserError as error:
        raise UserError(f"{folder}: not the folder of a finished run: {error}") from error


def _configs(one: Run, other: Run) -> Sheet:
    rows = [
        [name, option_text(first), option_text(second)]
        for name, (first, second) in differences(flat(one.config), flat(other.config)).items()
    ]
    same = [] if rows else ["their settings are the same"]
    for name, first, second in (
        ("seed", one.seed, other.seed),
        ("iterations done", one.iterations, other.iterations),
        ("device", one.summary.device, other.summary.device),
        ("code", one.short_code, other.short_code),
    ):
        if first != second:
            rows.append([name, str(first), str(second)])
    where = [f"A: {one.folder}", f"B: {other.folder}"]
    return Sheet("What differs in the configs", ("option", "A", "B"), rows, [*same, *where])


def _results(one: Run, other: Run, reason: str | None) -> Sheet:
    rows, paired = [], None
    for name in [name for name in one.measured if name in other.measured]:
        found = None if reason else difference([other], [one], name)
        paired = paired or found
        estimates = (run.estimate(name) for run in (one, other))
        cells = [metrics.shown(name, e.mean, e.ci95) for e in estimates if e is not None]
        rows.append([metrics.label(name), *cells, difference_text(name, found)])
    columns = ("test metric", "A", "B", "B − A, paired")
    return Sheet("Results", columns, rows, _remarks(one, other, reason, paired))


def _remarks(one: Run, other: Run, reason: str | None, paired: Difference | None) -> list[str]:
    if reason is not None:
        return [f"not comparable task by task: {reason}"]
    if paired is None:
        lacking = [str(run.folder) for run in (one, other) if run.tests is None]
        kept = f"no test_tasks.csv in {' and '.join(lacking)}" if lacking else "none is finite"
        return [f"no paired interval: {kept}"]
    found = [f"paired over {paired.n_tasks:,} test tasks, 95% interval of the mean difference"]
    if one.seed != other.seed:
        found.append("the seeds differ: the interval is over tasks, not over seeds")
    for name in ("transductive", "select"):
        values = [run.config["evaluation"].get(name) for run in (one, other)]
        if values[0] != values[1]:
            found.append(f"tested otherwise: evaluation.{name} differs")
    return found


def difference_text(metric: str, found: Difference | None) -> str:
    """`+0.52 ± 0.31`; a dash where there is none."""
    if found is None:
        return "–"
    return f"{metrics.number(metric, found.mean, '+')} ± {metrics.number(metric, found.ci95)}"


def against_best(labelled: Sequence[tuple[str, Sequence[Run]]], metric: str) -> Sheet | None:
    """Each setting's paired difference from the best of those tested on the same tasks alike.

    Args:
        labelled: the name and the runs of each setting.
        metric: which.

    Returns:
        None where there are not two to compare.
    """
    usable = [(name, runs) for name, runs in labelled if all(run.tests for run in runs)]
    ranked = sorted(usable, key=lambda item: _mean(item[1], metric))
    if metrics.higher_is_better(metric):
        ranked.reverse()
    if len(ranked) < 2:
        return None
    best_name, best = ranked[0]
    rows = []
    for name, runs in ranked[1:]:
        if why_not(runs[0], best[0]) is not None:
            continue
        found = difference(runs, best, metric)
        if found is not None:
            seeds = ", ".join(map(str, found.seeds))
            rows.append([name, difference_text(metric, found), f"{found.n_tasks:,}", seeds])
    if not rows:
        return None
    title = f"Difference from {best_name} on the same test tasks: {metrics.label(metric)}"
    return Sheet(title, ("", "difference (± 95%, paired)", "tasks", "seeds"), rows)


def _mean(runs: Sequence[Run], metric: str) -> float:
    means = [e.mean for e in (run.estimate(metric) for run in runs) if e and e.mean is not None]
    return sum(means) / len(means) if means else float("inf")
