import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mamlbench.errors import UserError
from mamlbench.figures import scores, tasks


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def a_log(folder, **columns):
    path = folder / "metrics.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_learning_curve_of_a_classifier(tmp_path, drawn):
    nan = float("nan")
    path = a_log(
        tmp_path,
        iteration=[10, 20, 30, 40],
        **{
            "train/loss": [1.6, 1.2, 1.0, 0.9],
            "train/accuracy": [0.2, 0.4, 0.5, 0.6],
            "tasks_per_second": [9.0, 9.0, 9.0, 9.0],
            "val/loss": [nan, 1.3, nan, 1.1],
            "val/loss_ci95": [nan, 0.1, nan, 0.1],
            "val/accuracy": [nan, 0.35, nan, 0.45],
            "val/accuracy_ci95": [nan, 0.02, nan, 0.01],
        },
    )
    scores.learning_curve(path, tmp_path / "figures" / "curve.png")
    loss, accuracy = drawn[0].axes
    assert loss.get_ylabel() == "loss"
    assert accuracy.get_ylabel() == "accuracy (%)"
    assert lines(loss)["training"].get_ydata().tolist() == [1.6, 1.2, 1.0, 0.9]
    validation = lines(accuracy)["validation"]
    assert validation.get_xdata().tolist() == [20, 40]
    assert validation.get_ydata().tolist() == [35.0, 45.0]
    (band,) = accuracy.collections
    box = band.get_datalim(accuracy.transData)
    assert (box.ymin, box.ymax) == pytest.approx((33.0, 46.0))
    with Image.open(tmp_path / "figures" / "curve.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000


def test_a_metric_that_never_was_a_number_has_no_panel(tmp_path, drawn):
    nan = float("nan")
    columns = {"train/loss": [1.0, 0.5], "val/loss": [nan, 0.7], "val/coverage": [nan, nan]}
    scores.learning_curve(a_log(tmp_path, iteration=[1, 2], **columns), tmp_path / "a.png")
    assert [len(axes.lines) for axes in drawn[0].axes] == [2]


def test_a_loss_that_is_the_metric_itself_is_drawn_once(tmp_path, drawn):
    same = {"train/loss": [2.0, 1.0], "train/mse": [2.0, 1.0]}
    scores.learning_curve(a_log(tmp_path, iteration=[1, 2], **same), tmp_path / "a.png")
    (only,) = drawn[0].axes
    assert only.get_ylabel() == "mean squared error"
    differs = {**same, "val/loss": [2.0, 1.5], "val/mse": [1.0, 0.5]}
    scores.learning_curve(a_log(tmp_path, iteration=[1, 2], **differs), tmp_path / "b.png")
    assert [axes.get_ylabel() for axes in drawn[1].axes] == ["loss", "mean squared error"]


def test_a_long_training_curve_is_smoothed_without_moving(tmp_path, drawn):
    iteration = np.arange(1, 401) * 100
    straight = 0.9 - iteration / 100_000
    path = a_log(tmp_path, iteration=iteration, **{"train/loss": straight})
    scores.learning_curve(path, tmp_path / "a.png")
    raw, smooth = drawn[0].axes[0].lines
    assert raw.get_ydata().tolist() == straight.tolist()
    # a running mean does not change the inside of a straight line
    assert smooth.get_ydata()[20:-20] == pytest.approx(straight[20:-20])


@pytest.mark.parametrize(("last", "scale"), [(0.1, "linear"), (0.001, "log")])
def test_only_a_wide_range_is_drawn_on_a_log_scale(tmp_path, drawn, last, scale):
    path = a_log(tmp_path, iteration=[1, 2], **{"train/loss": [1.0, last]})
    scores.learning_curve(path, tmp_path / "a.png")
    assert drawn[0].axes[0].get_yscale() == scale


def test_without_a_row_nothing_is_drawn(tmp_path, drawn):
    path = tmp_path / "metrics.csv"
    path.write_text("iteration,train/loss\n")
    scores.learning_curve(path, tmp_path / "a.png")
    assert not drawn
    assert not (tmp_path / "a.png").exists()


def test_values_that_are_not_finite_leave_the_rest_drawn(tmp_path, drawn):
    path = tmp_path / "metrics.csv"
    path.write_text("iteration,train/loss,val/loss\n1,2.0,\n2,inf,\n3,nan,\n4,1.0,\n")
    scores.learning_curve(path, tmp_path / "a.png")
    assert list(lines(drawn[0].axes[0])) == ["training"]
    assert (tmp_path / "a.png").exists()


def test_score_by_step(tmp_path, drawn):
    by_step = [
        mean and {"accuracy": {"mean": mean, "ci95": 0.01}, "loss": {"mean": 9.0, "ci95": 9.0}}
        for mean in (0.2, None, 0.8, 0.95)
    ]
    scores.score_by_step(by_step, "accuracy", tmp_path / "a.png")
    (axes,) = drawn[0].axes
    (line,) = axes.lines
    assert line.get_xdata().tolist() == [0, 2, 3]
    assert line.get_ydata() == pytest.approx([20.0, 80.0, 95.0])
    box = axes.collections[0].get_datalim(axes.transData)
    assert (box.ymin, box.ymax) == pytest.approx((19.0, 96.0))


def test_fits(tmp_path, drawn):
    x = np.linspace(-5, 5, 7)
    truth = np.stack([np.sin(x + task) for task in range(4)])
    fits = {10: 0.9 * truth, 0: 0.0 * truth, 1: 0.5 * truth}
    support_x, support_y = truth[:, :3] * 2, truth[:, :3] / 2
    tasks.fits(x, truth, support_x, support_y, fits, tmp_path / "a.png")
    panels = drawn[0].axes
    assert len(panels) == 4
    for task, axes in enumerate(panels):
        shown = lines(axes)
        assert list(shown) == [
            "truth", "before adapting", "after 1 step", "after 10 steps", "points given",
        ]  # fmt: skip
        assert shown["truth"].get_ydata().tolist() == truth[task].tolist()
        assert shown["after 10 steps"].get_ydata().tolist() == fits[10][task].tolist()
        assert shown["points given"].get_xdata().tolist() == support_x[task].tolist()
        assert shown["points given"].get_ydata().tolist() == support_y[task].tolist()
    assert len(drawn[0].legends[0].get_texts()) == 5


@pytest.mark.parametrize("channels", [1, 3])
def test_task_sheet_has_each_picture_in_its_class_row(tmp_path, drawn, channels):
    # each picture is uniformly grey, which encodes class and place: 0.1 * class + 0.01 * place
    size, ways, shots, queries = 28, 3, 1, 2
    labels = np.repeat(np.arange(ways), shots + queries)
    places = np.tile(np.arange(shots + queries), ways)
    greys = 0.1 * labels + 0.01 * places
    x = np.ones((1, len(greys), channels, size, size)) * greys[None, :, None, None, None]
    shuffled = np.random.default_rng(0).permutation(np.flatnonzero(places > 0))
    shuffled = shuffled[np.argsort(places[shuffled], kind="stable")]  # rows mixed, places in order
    support = places == 0
    tasks.task_sheet(
        x[:, support], labels[None, support], x[:, shuffled], labels[None, shuffled],
        tmp_path / "a.png",
    )  # fmt: skip
    sheet = drawn[0].axes[0].images[0].get_array()
    step, gap = size + 1, size // 4
    starts = [1, size + 2 + gap + 1, size + 2 + gap + 1 + step]  # support, gap, two queries
    for row in range(ways):
        for place, left in enumerate(starts):
            top = 1 + row * step
            picture = sheet[top : top + size, left : left + size]
            assert np.allclose(picture, 0.1 * row + 0.01 * place)


def test_a_sheet_shows_a_part_of_large_tasks_and_blanks_for_missing_pictures(tmp_path, drawn):
    support = np.zeros((6, 30, 1, 8, 8))
    y_support = np.repeat(np.arange(30), 1)[None].repeat(6, axis=0)
    query, y_query = np.zeros((6, 1, 1, 8, 8)), np.zeros((6, 1), dtype=int)
    tasks.task_sheet(support, y_support, query, y_query, tmp_path / "a.png")
    assert len(drawn[0].axes) == 4
    sheet = drawn[0].axes[0].images[0].get_array()
    assert sheet.shape == (20 * 9 + 1, 10 + 2 + 10, 3)
    assert (sheet[1:9, 13:21] == 0).all()  # the only query, in the row of class 0
    assert (sheet[10:18, 13:21] == 0.8).all()


def test_a_figure_that_cannot_be_written_is_the_users_to_mend(tmp_path):
    (tmp_path / "figures").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*figures/a\.png"):
        scores.score_by_step(
            [{"mse": {"mean": 1.0, "ci95": 0.1}}], "mse", tmp_path / "figures/a.png"
        )


def test_equal_data_give_equal_bytes_and_no_setting_is_left_behind(tmp_path):
    before = dict(mpl.rcParams)
    for name in ("a.png", "b.png"):
        scores.score_by_step([{"mse": {"mean": 1.0, "ci95": 0.1}}] * 3, "mse", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert dict(mpl.rcParams) == before


def test_figures_do_without_pyplot_and_the_loggers_without_heavy_imports():
    script = (
        "import sys, mamlbench.loggers, mamlbench.files\n"
        "assert not {'matplotlib', 'wandb', 'tensorboard', 'pandas'} & set(sys.modules)\n"
        "import mamlbench.figures.scores\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_fits_with_one_step_or_none(tmp_path: Path) -> None:
    x, curve = np.linspace(-5, 5, 9), np.zeros((1, 9))
    for fits in ({0: curve}, {0: curve, 1: curve}):
        out = tmp_path / f"{len(fits)}.png"
        tasks.fits(x, curve, np.zeros((1, 2)), np.zeros((1, 2)), fits, out)
        assert out.read_bytes().startswith(b"\x89PNG")
