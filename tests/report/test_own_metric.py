"""Runs of a user's own objective are ranked by its metric and direction."""

import json

import kept
import numpy as np
import pytest
from matplotlib.figure import Figure
from runs import RUN

from mamlbench.compose import experiment
from mamlbench.objectives import Regression
from mamlbench.report import curves
from mamlbench.report.folder_tables import folder_tables
from mamlbench.report.matching import match
from mamlbench.report.paper_tables import paper_table
from mamlbench.report.runs import higher_is_better, read_run
from mamlbench.tables import Cell, Printed, Table, TableRun

R2 = np.array([[0.1, 0.2, 0.1, 0.2], [0.6, 0.7, 0.6, 0.7]])


class OfVariance(Regression):
    """Regression whose metric is the explained share of the variance."""

    metric = "r2"
    higher_is_better = True

    def metrics(self, outputs, y):
        found = super().metrics(outputs, y)
        return {**found, "r2": 1.0 - found["mse"]}


@pytest.fixture
def keep(tmp_path, sinusoid):
    """`keep(NAME, inner_lr, scores, higher_is_better)`: a run with scores of r2 and a loss."""

    def run(name, rate, scores, higher=True, **summary):
        config = sinusoid(algorithm__inner_lr=rate)
        known = {"metric": "r2", "higher_is_better": higher, **summary}
        folder = kept.keep(tmp_path / name, config, scores, **known)
        path = folder / "summary.json"
        content = json.loads(path.read_text())
        for step in content["test"]["by_step"]:
            step["loss"] = {**step["r2"], "mean": 1.0 - step["r2"]["mean"]}
        path.write_text(json.dumps(content))
        return read_run(folder)

    return run


def test_a_run_says_what_it_is_read_by(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = experiment([*RUN, "algorithm=maml"])
    run.dataset.objective = run.learner.objective = OfVariance()
    summary = run.run()
    assert (summary["metric"], summary["higher_is_better"]) == ("r2", True)
    found = read_run(run.folder.path)
    assert (found.summary.metric, higher_is_better([found], "r2")) == ("r2", True)
    assert not higher_is_better([found], "mse")  # known from its name
    assert higher_is_better([found], "accuracy")


def test_the_best_by_its_own_metric_is_first(keep):
    runs = [keep("a", 0.01, R2), keep("b", 0.02, R2 + 0.1)]
    (table,) = folder_tables(runs)
    assert (table.metric, table.labels) == ("r2", ("maml inner_lr=0.02", "maml inner_lr=0.01"))
    assert [row[1] for row in table.sheets()[0].rows] == ["0.750 ± 0.092", "0.650 ± 0.092"]


def paper_of(run, **options):
    """A user's own table with a published r2 of 0.3."""
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=4",))
    cell = Cell("MAML", "1", asked, "r2", None, Printed("0.3"))
    names = ("mine", "Mine", "mine", "Table 1", "r2", ("MAML",), ("1",))
    table = Table(*names, (cell,), **options)
    return paper_table(table, match([table], [run]))


@pytest.mark.parametrize(("higher", "tone"), [(True, "better"), (False, "worse")])
def test_the_tone_of_a_verdict(keep, higher, tone):
    (line,) = paper_of(keep("a", 0.01, R2, higher)).lines
    assert (line.verdict.word, line.verdict.tone) == ("above", tone)


@pytest.mark.parametrize(("higher", "edge"), [(True, 0), (False, 1)])
def test_what_is_not_finite_is_drawn_at_the_worse_edge(keep, higher, edge):
    run = keep("a", 0.01, R2, higher)
    run.summary.test.by_step[-1]["r2"].mean = None
    (table,) = folder_tables([run])
    of_folder = next(d for d in curves.of_folder(table) if d.name.endswith("_by_step"))
    of_paper = curves.paper_figure(paper_of(run, kind="figure", x="inner_steps"))
    for drawing in (of_folder, of_paper):
        drawing.draw(figure := Figure())
        mark = figure.axes[0].lines[-1]
        assert (mark.get_xdata().tolist(), mark.get_ydata().tolist()) == ([1], [edge])
