"""Measured published numbers are counted by table, each number once."""

import re

import kept

from mamlbench.report import readme
from mamlbench.report.paper_tables import tally
from mamlbench.report.printed_numbers import coverage
from mamlbench.report.report import report_folders
from mamlbench.tables import load_table, load_tables


def by_table(papers):
    return {table.name: tally(lines) for table, lines in coverage(papers, load_tables())}


def printed(name):
    """The cells of a table with a printed number and a run."""
    return [c for c in load_table(name).cells if c.run and c.published is not None]


def test_without_runs_each_printed_number_is_not_run():
    counts = by_table([])
    assert counts["maml_sinusoid"] == {"not run": len(printed("maml_sinusoid"))} == {"not run": 15}
    assert "maml_sinusoid_steps" not in counts  # it has no printed numbers
    assert all(list(of_table) == ["not run"] for of_table in counts.values())


def test_what_is_measured_is_not_counted_as_not_run(tmp_path, sinusoid):
    kept.keep(tmp_path / "run", sinusoid())
    before, after = by_table([]), by_table(report_folders([tmp_path]).papers)
    measured = after["maml_sinusoid"]
    done = sum(count for word, count in measured.items() if word != "not run")
    assert done == 1  # after one step; the run has no scores after five and ten
    assert done + measured["not run"] == 15
    assert {**after, "maml_sinusoid": None} == {**before, "maml_sinusoid": None}


def test_what_two_papers_print_stands_in_the_first_that_measured_it(tmp_path):
    names = ("maml_omniglot", "reptile_omniglot")
    keys = [{(c.run, c.published_text) for c in printed(name)} for name in names]
    assert keys[0] & keys[1]
    config = kept.composed("experiment=maml/omniglot_5way1shot", "evaluation.tasks=4")
    kept.keep(tmp_path / "run", config, kept.SCORES / 10, metric="accuracy")
    counts = by_table(report_folders([tmp_path]).papers)
    assert counts["maml_omniglot"]["not run"] == len(keys[0]) - 1
    assert counts["reptile_omniglot"] == {"not run": len(keys[1] - keys[0])}


def test_the_readme_adds_the_tables_up(tmp_path, sinusoid):
    kept.keep(tmp_path / "run", sinusoid())
    told = re.search(
        r"\n(\d+) of (\d+) published numbers are measured: ([^.]*)\. .*?\n\n(.*?)\n\n<details>",
        readme.block(report_folders([tmp_path])),
        flags=re.DOTALL,
    )
    head, _, *rows = [line.strip("| ").split(" | ")[2:] for line in told[4].splitlines()]
    total = {
        word: sum(int(count) for count in column if count != "–")
        for word, column in zip(head, zip(*rows, strict=True), strict=True)
    }
    assert sum(total.values()) == int(told[2])
    assert int(told[2]) - total.pop("not run") == int(told[1]) == 1
    assert told[3] == ", ".join(f"{count} {word}" for word, count in total.items())
