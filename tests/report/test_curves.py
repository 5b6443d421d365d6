import kept
import numpy as np
import pytest
from matplotlib.figure import Figure

from mamlbench.report import curves, style
from mamlbench.report.entries import Entry
from mamlbench.report.matching import match
from mamlbench.report.paper_tables import paper_table
from mamlbench.report.runs import read_run
from mamlbench.tables import Cell, Printed, Table, TableRun


@pytest.fixture
def seeds(tmp_path, sinusoid):
    """Two seeds, whose scores are 0.2 apart."""
    return Entry(
        tuple(
            read_run(kept.keep(tmp_path / str(s), sinusoid(), kept.SCORES + 0.2 * s, seed=s))
            for s in (0, 1)
        )
    )


def test_the_band_of_several_seeds_is_their_standard_deviation(seeds):
    found = curves.learning_curve(seeds, "mse")
    assert found.x.tolist() == [1, 2, 3]
    # 3, 2, 1 and 3, 3, 3
    assert found.mean.tolist() == [3.0, 2.5, 2.0]
    assert found.half == pytest.approx(np.array([0.0, 1.0, 2.0]) / np.sqrt(2))


def test_the_band_of_one_seed_is_its_interval_over_tasks(seeds):
    found = curves.learning_curve(Entry(seeds.runs[:1]), "mse")
    assert found.mean.tolist() == [3.0, 2.0, 1.0]
    assert found.half.tolist() == [0.3, 0.2, 0.1]


def test_without_validation_the_training_is_drawn(seeds):
    rows = "iteration,train/mse\n5,2.0\n10,1.0\n"
    (seeds.first.folder / "metrics.csv").write_text(rows)
    found = curves.learning_curve(Entry(seeds.runs[:1]), "mse")
    assert (found.x.tolist(), found.mean.tolist()) == ([5, 10], [2.0, 1.0])
    assert np.isnan(found.half).all()
    (seeds.first.folder / "metrics.csv").write_text("iteration\n")
    assert curves.learning_curve(Entry(seeds.runs[:1]), "mse") is None


def test_scores_by_inner_step(seeds):
    found = curves.score_by_step(seeds, "mse")
    assert found.x.tolist() == [0, 1, 2]
    assert found.mean.tolist() == pytest.approx([4.1, 0.75, 0.5])
    seeds.runs[1].summary.test.by_step[1] = None
    found = curves.score_by_step(seeds, "mse")
    assert found.x.tolist() == [0, 2]
    assert found.mean.tolist() == pytest.approx([4.1, 0.5])
    assert seeds.runs[1].estimate("mse", 1) is None


def figure_of(runs, x, columns, **cells):
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=4",))
    made = [
        Cell("ours", c, asked, "mse", s, Printed(p), Printed("0.1"), "tasks95")
        for c, s, p in zip(columns, cells["steps"], cells["published"], strict=True)
    ]
    others = [Cell("theirs", columns[0], None, "mse", None, Printed("5.0"))]
    table = Table(
        *("mine", "Mine", "arXiv 1", "Figure 1", "mse", ("ours", "theirs"), columns),
        cells=(*made, *others),
        kind="figure",
        x=x,
    )
    drawing = curves.paper_figure(paper_table(table, match([table], runs)))
    figure = Figure()
    drawing.draw(figure)
    return figure.axes[0]


def test_a_papers_figure_by_inner_step(seeds):
    columns = {"steps": (0, 1, 2), "published": ("4.2", "0.7", "0.4")}
    axes = figure_of(seeds.runs, "inner_steps", ("0", "1", "2"), **columns)
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["ours"].get_xdata().tolist() == [0, 1, 2]
    assert lines["ours"].get_ydata().tolist() == pytest.approx([4.1, 0.75, 0.5])
    published = [line for line in axes.lines if line.get_marker() == "D"]
    assert [list(line.get_ydata()) for line in published] == [[4.2, 0.7, 0.4], [5.0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("inner steps", "mean squared error")


def test_a_curve_that_runs_away_leaves_the_frame(seeds):
    columns = {"steps": (0, 1, 2), "published": ("4.2", "0.7", "4e20")}
    axes = figure_of(seeds.runs, "inner_steps", ("0", "1", "2"), **columns)
    low, high = axes.get_ylim()
    assert -1.0 < low < 0.5
    assert 5.0 < high < 6.0


def test_a_papers_figure_by_iteration_has_whole_curves(seeds):
    columns = {"steps": (None,), "published": ("1.0",)}
    axes = figure_of(seeds.runs, "iterations", ("all",), **columns)
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["ours"].get_ydata().tolist() == [3.0, 2.5, 2.0]
    assert axes.get_xlabel() == "meta-training iteration"


def test_columns_that_are_words_are_ticks(seeds):
    columns = {"steps": (0, 1), "published": ("4.2", "0.7")}
    axes = figure_of(seeds.runs, "training", ("before", "after"), **columns)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["before", "after"]


def test_a_learner_that_asked_for_labels(tmp_path, sinusoid):
    def step(mean):
        return {"uncertainty": {"accuracy": {"mean": mean, "ci95": 0.1}}}

    asked = {"curve": [step(0.5), step(0.7)]}
    run = read_run(kept.keep(tmp_path / "a", sinusoid(), active_learning=asked))
    found = curves.score_by_label(Entry((run,)), "accuracy")
    assert found.mean.tolist() == pytest.approx([50, 70])
    assert found.half.tolist() == pytest.approx([10, 10])
    plain = read_run(kept.keep(tmp_path / "b", sinusoid()))
    assert curves.score_by_label(Entry((plain,)), "accuracy") is None


def test_an_svg_is_of_the_page_alone():
    svg = style.svg(3, 2, lambda figure: figure.subplots().plot([1, 2], color=style.BLUE))
    assert svg.startswith("<svg ")
    assert "var(--curve0)" in svg
    assert "http://www.w3.org/2000/svg" in svg
    assert not any(word in svg for word in ("metadata", "<?xml", "DOCTYPE", 'id="figure'))
