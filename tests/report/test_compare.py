import json

import kept
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mamlbench.errors import UserError
from mamlbench.report.compare import compare
from mamlbench.report.folder_tables import folder_tables
from mamlbench.report.paired import difference, why_not
from mamlbench.report.runs import read_run

BETTER = kept.SCORES - np.array([0.1, 0.2, 0.1, 0.2])


def test_the_difference_is_paired_by_task(tmp_path, sinusoid):
    one = read_run(kept.keep(tmp_path / "a", sinusoid()))
    other = read_run(kept.keep(tmp_path / "b", sinusoid(algorithm__inner_lr=0.02), BETTER))
    found = difference([other], [one], "mse")
    # -0.1, -0.2, -0.1, -0.2: standard deviation 0.057735, t for 3 degrees of freedom 3.18245
    assert (found.mean, found.ci95) == pytest.approx((-0.15, 3.18245 * 0.057735 / 2), rel=1e-4)
    assert (found.n_tasks, found.seeds) == (4, (0,))
    # the two results' own intervals are far wider than that of their difference
    assert one.estimate("mse").ci95 > found.ci95 * 1.4
    assert stats.ttest_rel(one.by_task("mse"), other.by_task("mse")).pvalue < 0.05


def test_seeds_are_paired_with_their_like(tmp_path, sinusoid):
    first, second = (
        [
            read_run(kept.keep(tmp_path / f"{name}{seed}", sinusoid(), scores + seed, seed=seed))
            for seed in seeds
        ]
        for name, scores, seeds in (("a", kept.SCORES, (0, 1, 5)), ("b", BETTER, (1, 0, 7)))
    )
    found = difference(second, first, "mse")
    assert (found.mean, found.seeds) == (pytest.approx(-0.15), (0, 1))
    assert difference(second[2:], first[:2], "mse") is None


def test_fewer_tasks_are_those_that_both_have(tmp_path, sinusoid):
    one = read_run(kept.keep(tmp_path / "a", sinusoid()))
    other = read_run(kept.keep(tmp_path / "b", sinusoid(evaluation__tasks=3), BETTER[:, :3]))
    assert why_not(one, other) is None
    assert difference([other], [one], "mse").n_tasks == 3


@pytest.mark.parametrize(
    ("changes", "summary", "reason"),
    [
        ({"evaluation__shots": 10}, {}, "evaluation.shots is 5 and 10"),
        ({"evaluation__queries": 15}, {}, "evaluation.queries is 5 and 15"),
        ({"dataset__domain": [-1, 1]}, {}, r"dataset.domain is \[-5.0, 5.0\] and \[-1, 1\]"),
        ({}, {"dataset": "glyphs"}, "the datasets are sinusoid and glyphs"),
        ({}, {"data_sha256": "abcdef012345"}, "the data are not the same .* None and abcdef01.*"),
    ],
)
def test_runs_whose_test_tasks_are_not_the_same(tmp_path, sinusoid, changes, summary, reason):
    first = kept.keep(tmp_path / "a", sinusoid())
    second = kept.keep(tmp_path / "b", sinusoid(**changes), **summary)
    _, results = compare(first, second).sheets()
    assert results.rows[0][-1] == "–"
    (line,) = results.notes
    assert line.startswith("not comparable task by task: ")
    with pytest.raises(UserError, match=f"are not comparable: {reason}"):
        compare(first, second, strict=True)


def test_runs_on_data_without_a_hash_are_compared_only_if_these_lie_in_one_place(
    tmp_path, sinusoid
):
    places = {"a": "here", "b": "here", "c": "there"}
    a, b, c = (
        read_run(kept.keep(tmp_path / name, sinusoid(dataset__root=place)))
        for name, place in places.items()
    )
    assert why_not(a, b) is None
    assert why_not(a, c) == "dataset.root is here and there"
    assert compare(a.folder, c.folder).options == {"dataset.root": ("here", "there")}


def test_an_option_that_one_run_lacks_is_what_its_class_does_without_it(tmp_path, sinusoid):
    config = sinusoid()
    del config["dataset"]["domain"]
    older = read_run(kept.keep(tmp_path / "older", config))
    same = read_run(kept.keep(tmp_path / "same", sinusoid()))
    other = read_run(kept.keep(tmp_path / "other", sinusoid(dataset__domain=[-1, 1])))
    assert why_not(older, same) is None
    assert why_not(other, older) == "dataset.domain is [-1, 1] and [-5.0, 5.0]"
    assert why_not(older, other) == "dataset.domain is [-5.0, 5.0] and [-1, 1]"


def test_a_task_without_a_score_leaves_no_paired_interval(tmp_path, sinusoid):
    """Even if other tasks and another seed have scores."""
    scores = BETTER.copy()
    scores[-1, 2] = np.nan
    first = kept.keep(tmp_path / "a", sinusoid())
    second = kept.keep(tmp_path / "b", sinusoid(), scores)
    _, results = compare(first, second).sheets()
    assert results.rows[0][-1] == "–"
    assert results.notes == ["no paired interval: not every test task has a finite score"]
    one, other = read_run(first), read_run(second)
    ours, theirs = (
        read_run(kept.keep(tmp_path / name, sinusoid(), values, seed=1))
        for name, values in (("ours", BETTER), ("theirs", kept.SCORES))
    )
    assert difference([other, ours], [one, theirs], "mse") is None
    assert difference([other, ours], [theirs], "mse").mean == pytest.approx(-0.15)
    # a task that only one of them was tested on does no harm
    fewer = read_run(kept.keep(tmp_path / "c", sinusoid(), scores[:, :2]))
    assert difference([fewer], [one], "mse").n_tasks == 2


def also_measured(folder, metric, **changed):
    """Add a metric to a kept run: its MSE, with changes to each step's estimate."""
    summary = json.loads((folder / "summary.json").read_text())
    for found in summary["test"]["by_step"]:
        found[metric] = {**found["mse"], **changed}
    (folder / "summary.json").write_text(json.dumps(summary))
    tests = pd.read_csv(folder / "test_tasks.csv")
    scores = np.inf if changed.get("mean", 0.0) is None else tests["mse"]
    tests.assign(**{metric: scores}).to_csv(folder / "test_tasks.csv", index=False)


def test_a_metric_that_is_not_finite_beside_one_that_is(tmp_path, sinusoid):
    folders = []
    for name in "ab":
        folders.append(kept.keep(tmp_path / name, sinusoid()))
        also_measured(folders[-1], "nll", mean=None, ci95=None)
    _, results = compare(*folders).sheets()
    assert [row[-1] for row in results.rows] == ["+0.000 ± 0.000", "–"]
    assert results.notes[1] == "–: not every test task has a finite score"


@pytest.mark.parametrize(("changed", "rows"), [({}, ["MSE"]), ({"mean": 9.0}, ["MSE", "loss"])])
def test_a_loss_that_is_another_metric_is_not_listed_beside_it(tmp_path, sinusoid, changed, rows):
    folders = [kept.keep(tmp_path / name, sinusoid()) for name in "ab"]
    also_measured(folders[0], "loss", **changed)
    also_measured(folders[1], "loss")
    _, results = compare(*folders).sheets()
    assert [row[0] for row in results.rows] == rows


def test_what_counts_as_another_result_is_said(tmp_path, sinusoid):
    config = {**sinusoid(hardware__precision="bf16"), "warm_start": "outputs/other"}
    found = compare(
        kept.keep(tmp_path / "a", sinusoid()),
        kept.keep(tmp_path / "b", config, data_sha256="ab" * 32),
    )
    assert found.options == {
        "hardware.precision": ("float32", "bf16"),
        "warm_start": (None, "outputs/other"),
        "data_sha256": (None, "ab" * 32),
    }


def test_two_runs(tmp_path, sinusoid):
    first = kept.keep(tmp_path / "a", sinusoid())
    second = kept.keep(
        tmp_path / "b", sinusoid(algorithm__inner_lr=0.02), BETTER, seed=1, commit=None
    )
    configs, results = compare(first, second).sheets()
    assert configs.rows == [
        ["algorithm.inner_lr", "0.01", "0.02"],
        ["seed", "0", "1"],
        ["code", "commit 1234567", "version 0.1.0"],
    ]
    assert results.columns[1:] == ("A", "B", "B − A, paired")
    assert results.rows == [["MSE", "0.400 ± 0.130", "0.250 ± 0.092", "−0.150 ± 0.092"]]
    assert results.notes == [
        "paired over 4 test tasks, 95% interval of the mean difference",
        "the seeds differ: the interval is over tasks, not over seeds",
    ]


def test_the_same_setting_is_said_to_be(tmp_path, sinusoid):
    configs, _ = compare(
        kept.keep(tmp_path / "a", sinusoid()), kept.keep(tmp_path / "b", sinusoid())
    ).sheets()
    assert configs.rows == []
    assert configs.notes[0] == "their settings are the same"


def test_without_the_tasks_scores_there_is_no_paired_interval(tmp_path, sinusoid):
    first = kept.keep(tmp_path / "a", sinusoid())
    second = kept.keep(tmp_path / "b", sinusoid(), BETTER)
    (second / "test_tasks.csv").unlink()
    _, results = compare(first, second).sheets()
    assert results.notes == [f"no paired interval: no test_tasks.csv in {second}"]


def test_a_folder_without_a_run(tmp_path, sinusoid):
    first = kept.keep(tmp_path / "a", sinusoid())
    with pytest.raises(UserError, match="none: not the folder of a finished run: there is no"):
        compare(first, tmp_path / "none")


def test_algorithms_on_the_same_tasks(tmp_path, sinusoid):
    """The best comes first; others are compared with it if their test tasks are the same."""
    settings = {
        "a": (sinusoid(), kept.SCORES),
        "b": (sinusoid(algorithm__inner_lr=0.02), BETTER),
        "c": (sinusoid(algorithm__inner_lr=0.03, evaluation__shots=10), kept.SCORES + 1),
    }
    runs = [read_run(kept.keep(tmp_path / n, *setting)) for n, setting in settings.items()]
    (table,) = folder_tables(runs)
    listed, paired = table.sheets()
    assert [row[:2] for row in kept.texts(listed)] == [
        ["maml inner_lr=0.02 tested with shots=5", "0.250 ± 0.092"],
        ["maml inner_lr=0.01 tested with shots=5", "0.400 ± 0.130"],
        ["maml inner_lr=0.03 tested with shots=10[1]", "1.400 ± 0.130"],
    ]
    of_tasks = "evaluation.shots is 10 and 5, evaluation.queries is 10 and 5"
    assert f"[1] its test tasks differ from the best's: {of_tasks}" in listed.notes
    assert paired.title == "sinusoid 10shot, MSE: differences on the same test tasks"
    assert kept.texts(paired) == [
        [
            "maml inner_lr=0.01 tested with shots=5",
            "+0.150 ± 0.092",
            "4",
            "0",
            "maml inner_lr=0.02 tested with shots=5",
        ]
    ]


def test_what_did_not_end_in_a_number_is_never_the_best(tmp_path, sinusoid):
    """Even if higher is better, and even if only one seed of a setting diverged."""
    good, better = np.full((3, 4), 0.8), np.array([[0.9, 0.8, 0.9, 1.0]] * 3)
    diverged = np.full((3, 4), np.nan)
    settings = {
        "bad": (0.03, diverged, 0),
        "half": (0.04, np.array([[1.0, 0.9, 1.0, 1.0]] * 3), 0),
        "other": (0.04, diverged, 1),
        "good": (0.01, good, 0),
        "better": (0.02, better, 0),
    }
    runs = []
    for name, (rate, scores, seed) in settings.items():
        config = sinusoid(algorithm__inner_lr=rate)
        folder = kept.keep(tmp_path / name, config, scores, seed=seed, metric="accuracy")
        text = (folder / "summary.json").read_text().replace("NaN", "null")
        (folder / "summary.json").write_text(text)
        runs.append(read_run(folder))
    (table,) = folder_tables(runs)
    listed, paired = table.sheets()
    assert [row[0] for row in kept.texts(listed)[:2]] == [
        "maml inner_lr=0.02",
        "maml inner_lr=0.01",
    ]
    assert [row[1] for row in kept.texts(listed)[2:]] == ["not finite", "not finite"]
    assert kept.texts(paired) == [
        ["maml inner_lr=0.01", "−10.00 ± 12.99", "4", "0", "maml inner_lr=0.02"]
    ]
