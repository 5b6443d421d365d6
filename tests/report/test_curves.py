import kept
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mamlbench.figures import style
from mamlbench.report import curves
from mamlbench.report.curve_plot import Curve, Named, plot
from mamlbench.report.entries import Entry
from mamlbench.report.folder_tables import FolderTable
from mamlbench.report.matching import match
from mamlbench.report.paper_tables import paper_table
from mamlbench.report.report import Report
from mamlbench.report.runs import read_run
from mamlbench.tables import Cell, Printed, Table, TableRun


@pytest.fixture
def seeds(tmp_path, sinusoid):
    """Two seeds whose scores differ by 0.2."""
    return Entry(
        tuple(
            read_run(kept.keep(tmp_path / str(s), sinusoid(), kept.SCORES + 0.2 * s, seed=s))
            for s in (0, 1)
        )
    )


def test_the_band_of_several_seeds_is_their_standard_deviation(seeds):
    found = curves.learning_curve(seeds, "mse")
    assert found.x.tolist() == [1, 2, 3]
    # of 3, 2, 1 and 3, 3, 3
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


def test_seeds_meet_where_all_were_logged(seeds):
    first, second = (run.folder / "metrics.csv" for run in seeds.runs)
    first.write_text("iteration,val/mse\n100,3.0\n200,2.0\n300,1.0\n")
    second.write_text("iteration,val/mse\n50,9.0\n100,5.0\n200,4.0\n")
    found = curves.learning_curve(seeds, "mse")
    assert (found.x.tolist(), found.mean.tolist()) == ([100, 200], [4.0, 3.0])
    second.write_text("iteration,val/mse\n50,9.0\n")
    assert curves.learning_curve(seeds, "mse") is None


def test_scores_by_inner_step(seeds):
    found = curves.score_by_step(seeds, "mse")
    assert found.x.tolist() == [0, 1, 2]
    assert found.mean.tolist() == pytest.approx([4.1, 0.75, 0.5])
    seeds.runs[1].summary.test.by_step[1] = None
    found = curves.score_by_step(seeds, "mse")
    assert found.x.tolist() == [0, 2]
    assert found.mean.tolist() == pytest.approx([4.1, 0.5])
    assert seeds.runs[1].estimate("mse", 1) is None


def figure_of(runs, x, columns, rows=("ours", "theirs"), title="Mine", **cells):
    """The axes of a paper's figure whose row `ours` has a run, and `theirs` a published point."""
    paper = paper_of(runs, x, columns, rows, title, **cells)
    figure = Figure()
    curves.paper_figure(paper).draw(figure)
    return figure.axes[0]


def paper_of(runs, x, columns, rows=("ours", "theirs"), title="Mine", **cells):
    interval = cells.get("interval", Printed("0.1"))
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=4",))
    made = [
        Cell("ours", c, asked, "mse", s, p and Printed(p), interval, "tasks95")
        for c, s, p in zip(columns, cells["steps"], cells["published"], strict=True)
    ]
    others = [Cell("theirs", columns[0], None, "mse", None, Printed("5.0"))]
    table = Table(
        *("mine", title, "arXiv 1", "Figure 1", "mse", rows, columns),
        cells=(*made, *others) if "theirs" in rows else tuple(made),
        kind="figure",
        x=x,
    )
    return paper_table(table, match([table], runs))


def legend(axes):
    return [text.get_text() for text in axes.figure.legends[0].get_texts()]


def looks(line):
    return line.get_color(), line.get_linestyle(), line.get_marker()


def bands(axes):
    """The height of each visible band."""
    boxes = [band.get_datalim(axes.transData) for band in axes.collections]
    return [box.height for box in boxes if np.isfinite(box.height) and box.height > 0]


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
    end = lines["ours"].get_xdata()[-1]
    published = [line for line in axes.lines if line.get_marker() == "D"]
    points = [(list(line.get_xdata()), list(line.get_ydata())) for line in published]
    assert points == [([end], [1.0]), ([end], [5.0])]


def test_a_figure_of_runs_without_a_curve_is_empty(seeds):
    for run in seeds.runs:
        (run.folder / "metrics.csv").write_text("iteration\n")
    columns = {"steps": (None,), "published": (None,)}
    assert not figure_of(seeds.runs, "iterations", ("all",), **columns).lines


def test_a_caption_says_only_what_is_drawn(seeds):
    def caption(runs, published, x="inner_steps", **cells):
        cells = {"columns": ("0", "1"), "steps": (0, 1), "published": published, **cells}
        return curves.paper_figure(paper_of(runs, x, rows=("ours",), **cells)).caption

    over_tasks, over_seeds = "the 95% interval over tasks.", "one standard deviation over seeds"
    ours = f"Lines: ours. Bands: {over_tasks}"
    printed = {"published": ("4.2", None)}
    assert caption(seeds.runs, (None, None)) == ours
    assert caption(seeds.runs, **printed, interval=None) == f"{ours} Hollow: published."
    assert caption(seeds.runs, **printed) == f"{ours} Hollow: published, with the printed ±."
    assert caption(seeds.runs, (None,), columns=("0",), steps=(0,)) == "Points: ours."
    whole = {"published": ("1.0",), "x": "iterations", "columns": ("all",), "steps": (None,)}
    hollow = "Hollow: published, with the printed ±."
    assert caption(seeds.runs, **whole) == f"Lines: ours. Bands: {over_seeds}. {hollow}"
    assert caption(seeds.runs[:1], **whole) == f"{ours} {hollow}"
    table = FolderTable("d", "s", "mse", (seeds, Entry(seeds.runs[:1])), ("a", "b"), (None, None))
    learning, by_step = curves.of_folder(table)
    assert learning.caption.endswith(f"Bands: {over_seeds}; for a single seed, {over_tasks}")
    assert by_step.caption == f"Mean over tasks and seeds. Bands: {over_tasks}"


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


STEPS = {"steps": (0, 1, 2), "published": ("4.2", "0.7", "0.4")}


def test_the_legend_says_what_is_published(seeds):
    axes = figure_of(seeds.runs, "inner_steps", ("0", "1", "2"), **STEPS)
    assert legend(axes) == ["ours", "theirs", "published"]
    plain = {**STEPS, "published": (None, None, None)}
    axes = figure_of(seeds.runs, "inner_steps", ("0", "1", "2"), ("ours",), **plain)
    assert legend(axes) == ["ours"]


def test_a_row_keeps_its_colour_whatever_else_is_measured(seeds):
    rows = ("not run", "theirs", "ours")
    axes = figure_of(seeds.runs, "inner_steps", ("0", "1", "2"), rows, **STEPS)
    colours = {line.get_label(): line.get_color() for line in axes.lines}
    assert colours["ours"] == style.CURVES[2]
    published = [line for line in axes.lines if line.get_marker() == "D"]
    assert [line.get_color() for line in published] == [style.CURVES[1], style.CURVES[2]]


@pytest.fixture
def versions(tmp_path, sinusoid):
    """A run of each of two commits; the second's scores are half the first's."""
    commits = (kept.CODE, "abcdef0" + "0" * 33)
    return [
        read_run(kept.keep(tmp_path / c, sinusoid(), kept.SCORES / n, commit=c))
        for n, c in enumerate(commits, 1)
    ]


def test_versions_of_the_code_are_curves_of_their_own(versions):
    axes = figure_of(versions, "inner_steps", ("0", "1", "2"), **STEPS)
    lines = {line.get_label(): line for line in axes.lines}
    first, second = lines["ours, commit 1234567"], lines["ours, commit abcdef0"]
    assert first.get_ydata().tolist() == pytest.approx([4.0, 0.65, 0.4])
    assert second.get_ydata().tolist() == pytest.approx([2.0, 0.325, 0.2])
    assert looks(first) != looks(second)
    published = [line for line in axes.lines if line.get_marker() == "D"]
    assert len(published[0].get_xdata()) == 3


def test_versions_of_the_code_each_have_a_learning_curve(versions):
    columns = {"steps": (None,), "published": (None,)}
    axes = figure_of(versions, "iterations", ("all",), ("ours",), **columns)
    assert legend(axes) == ["ours, commit 1234567", "ours, commit abcdef0"]


def test_equal_runs_are_curves_of_their_own(tmp_path, sinusoid):
    runs = [read_run(kept.keep(tmp_path / name, sinusoid())) for name in ("a", "b")]
    axes = figure_of(runs, "inner_steps", ("0", "1", "2"), **STEPS)
    lines = [line for line in axes.lines if line.get_label().startswith("ours")]
    assert [line.get_xdata().tolist() for line in lines] == [[0, 1, 2]] * 2


@pytest.mark.parametrize(
    ("columns", "ticks"),
    [
        (("0.0625", "0.25", "1.0"), ["0.0625", "0.25", "1.0"]),
        (("0", "0.5", "1"), ["0", "0.5", "1"]),
    ],
)
def test_an_axis_that_counts_nothing_has_its_columns_as_ticks(seeds, columns, ticks):
    axes = figure_of(seeds.runs, "outer step size", columns, **STEPS)
    axes.figure.draw_without_rendering()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ticks
    assert not axes.xaxis.get_minorticklocs().size


def named(*means, half=0.1, place=0, label="a"):
    mean = np.array(means, dtype=float)
    return Named(label, place, Curve(np.arange(len(mean)), mean, np.full(len(mean), half)))


def test_a_seed_that_diverges_covers_nothing():
    away = named(3, 0.5, 4, 434, np.nan, half=0.2)
    away.curve.half[2:4] = 900
    axes = plot(Figure(), "mse", [away, named(3, 2, 2, 2, 2, place=1, label="b")])
    assert max(bands(axes)) < 4
    assert -1 < axes.get_ylim()[0] < 1
    assert 4 < axes.get_ylim()[1] < 5
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["a"].get_ydata()[:3].tolist() == [3, 0.5, 4]
    [mark] = [line for line in axes.lines if line.get_marker() == "^"]
    assert (mark.get_xdata().tolist(), mark.get_ydata().tolist()) == ([3], [1])
    assert mark.get_color() == style.CURVES[0]
    assert legend(axes) == ["a", "b", "off the scale or not finite"]


@pytest.mark.parametrize(("metric", "edge"), [("mse", 1), ("return", 0)])
def test_what_is_not_finite_is_at_the_worse_edge_and_within_x(metric, edge):
    axes = plot(Figure(), metric, [named(3, 2, np.nan)])
    mark = axes.lines[-1]
    assert (mark.get_xdata().tolist(), mark.get_ydata().tolist()) == ([2], [edge])
    assert axes.get_xlim()[1] > 2


def test_bands_are_whole_where_all_can_be_shown():
    assert bands(plot(Figure(), "mse", [named(1, 1, 1, half=0.9)])) == pytest.approx([1.8])


def test_more_curves_than_colours_are_told_apart():
    several = [named(2, 1, place=place, label=str(place)) for place in range(21)]
    figure = Figure()
    lines = plot(figure, "mse", several).lines
    assert len({looks(line) for line in lines}) == 21
    # long enough for two dashes
    assert all(handle.get_xdata()[-1] >= 30 for handle in figure.legends[0].get_lines())


def test_single_points_are_beside_one_another():
    axes = plot(Figure(), "mse", [named(0.1, place=n, label=str(n)) for n in range(3)])
    axes.figure.draw_without_rendering()
    at = [line.get_transform().transform((0, 0.1)) for line in axes.lines]
    assert np.diff([x for x, _ in at]).min() > 5
    assert len({y for _, y in at}) == 1


def test_a_legend_of_long_names_fits(seeds):
    options = "adapt_norm=false outer_lr=0.001 outer_schedule=constant _target_=mamlbench.networks"
    labels = [f"maml {options}.{n} data_sha256=66a6fd4f103d and 12 more" for n in "abcd"]
    table = FolderTable("d", "s", "mse", (seeds,) * 4, tuple(labels), (None,) * 4)
    for drawing in curves.of_folder(table):
        figure = Figure(curves.SIZE, layout="constrained")
        drawing.draw(figure)
        figure.draw_without_rendering()
        texts = figure.legends[0].get_texts()
        assert [" ".join(text.get_text().split()) for text in texts] == labels
        box = figure.legends[0].get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.axes[0].get_window_extent().height > 0.3 * figure.dpi * curves.SIZE[1]


def test_an_entry_has_one_colour_in_both_figures(seeds):
    (seeds.first.folder / "metrics.csv").write_text("iteration\n")
    entries = tuple(Entry((run,)) for run in seeds.runs)
    table = FolderTable("d", "s", "mse", entries, ("no log", "log"), (None, None))
    found = []
    for drawing in curves.of_folder(table):
        drawing.draw(figure := Figure())
        found.append({line.get_label(): line.get_color() for line in figure.axes[0].lines})
    first, second, *_ = style.CURVES
    assert found == [{"log": second}, {"no log": first, "log": second}]


def test_a_long_title_is_not_cut(seeds, tmp_path):
    title = "MAML, Figure 5: half-cheetah, forwards or backwards, return by inner step"
    paper = paper_of(seeds.runs, "inner_steps", ("0", "1", "2"), title=title, **STEPS)
    [path] = curves.draw_all(Report((paper,), (), (), (), ()), tmp_path)
    with Image.open(path) as picture:
        top = np.asarray(picture.convert("L"))[:45]
    assert top.min() < 60
    assert top[:, -2:].min() == 255


def test_an_svg_is_of_the_page_alone():
    svg = style.svg(3, 2, lambda figure: figure.subplots().plot([1, 2], color=style.BLUE))
    assert svg.startswith("<svg ")
    assert "var(--curve0)" in svg
    assert "http://www.w3.org/2000/svg" in svg
    assert not any(word in svg for word in ("metadata", "<?xml", "DOCTYPE", 'id="figure'))
