import kept
import numpy as np
import pytest

from mamlbench.report.results import Result, result, score_text, seeds_text, verdict
from mamlbench.report.runs import read_run


def ours(mean, ci95=1.0, higher=False):
    return Result(mean, ci95, (0,), None, 600, higher)


@pytest.mark.parametrize(
    ("mean", "published", "interval", "kind", "word", "why", "tone"),
    [
        (98.4, 98.7, 0.4, "tasks95", "within", "the printed interval", "good"),
        (98.2, 98.7, 0.4, "tasks95", "below", "intervals overlap", "worse"),
        (97.2, 98.7, 0.4, "tasks95", "below", "the printed interval", "worse"),
        (99.9, 98.7, 0.1, "tasks95", "above", "the printed interval", "better"),
        (96.7, 97.65, 0.05, "seeds_sd", "within", "1 point", "good"),
        (96.6, 97.65, 0.05, "seeds_sd", "below", "1 point", "worse"),
        (89.0, 88.14, 0.15, "unstated", "within", "1 point", "good"),
        (97.0, 95.9, None, None, "above", "1 point", "better"),
    ],
)
def test_verdicts_on_accuracy(mean, published, interval, kind, word, why, tone):
    found = verdict(ours(mean, higher=True), "accuracy", published, interval, kind)
    assert (found.word, found.why, found.tone) == (word, why, tone)


@pytest.mark.parametrize(
    ("mean", "ci95", "published", "interval", "kind", "word", "why", "tone"),
    [
        (0.40, 0.08, 0.35, None, None, "within", "our interval", "good"),
        (0.50, 0.08, 0.35, None, None, "above", "our interval", "worse"),
        (0.20, 0.08, 0.35, None, None, "below", "our interval", "better"),
        (149.6, 284.3, 0.38, None, None, "unclear", "our interval is wider than the value", "none"),
        (5.00, 1.00, 0.35, None, None, "above", "our interval", "worse"),
        (1.70, 0.02, 1.59, 0.15, "unstated", "within", "the printed ±", "good"),
        (-3.0, 0.2, -3.3, 0.6, "tasks95", "within", "the printed interval", "good"),
    ],
)
def test_verdicts_on_other_metrics(mean, ci95, published, interval, kind, word, why, tone):
    found = verdict(ours(mean, ci95), "mse", published, interval, kind)
    assert (found.word, found.why, found.tone) == (word, why, tone)


def test_every_accuracy_is_judged_as_one():
    found = verdict(ours(88.9, 0.1), "assigned_accuracy", 88.34, 1.06, "unstated")
    assert (found.word, found.why) == ("within", "1 point")
    better = verdict(ours(90.9, higher=True), "assigned_accuracy", 88.34, 1.06, "tasks95")
    assert better.tone == "better"


def test_what_was_shortened_is_not_judged():
    less = ["4 of 60 iterations", "2 of 6 test tasks"]
    for published in (98.7, None):
        found = verdict(ours(98.7), "accuracy", published, 0.4, "tasks95", less)
        assert (found.word, found.why, found.tone) == ("shortened", "2 of 6 test tasks", "none")


def test_what_was_shortened_and_diverged_is_no_worse():
    found = verdict(ours(float("nan"), None), "mse", 0.35, None, None, ["4 of 60 iterations"])
    assert (found.word, found.tone) == ("diverged", "none")


def test_numbers_of_millions_have_an_exponent():
    assert score_text("mse", ours(999_999.0, 0.5)) == "999999.000 ± 0.500"
    assert score_text("mse", ours(-3.549e12, 6.97e12)) == "−3.5e+12 ± 7.0e+12"


@pytest.mark.parametrize(("published", "tone"), [(0.35, "worse"), (None, "none")])
def test_what_is_not_finite_has_diverged(published, tone):
    found = verdict(ours(float("nan"), None), "mse", published, None, None)
    assert (found.word, found.tone) == ("diverged", tone)


def test_what_was_not_published_is_not_judged():
    assert verdict(ours(98.7), "accuracy", None, None, None).word == "not published"


def test_one_seed(tmp_path, sinusoid):
    run = read_run(kept.keep(tmp_path / "a", sinusoid()))
    found = result([run], "mse", 1)
    # 0.5, 0.7, 0.9, 0.5: standard deviation 0.19149, t for 3 degrees of freedom 3.18245
    assert (found.mean, found.ci95) == pytest.approx((0.65, 3.18245 * 0.19149 / 2), rel=1e-4)
    assert (found.seeds, found.seed_sd, found.n_tasks) == ((0,), None, 4)
    assert score_text("mse", found) == "0.650 ± 0.305"
    assert seeds_text("mse", found) == "0"


def test_several_seeds(tmp_path, sinusoid):
    more = kept.SCORES + np.array([0.1, 0.3, 0.1, 0.3])
    runs = [
        read_run(kept.keep(tmp_path / str(seed), sinusoid(), scores, seed=seed))
        for seed, scores in ((0, kept.SCORES), (2, more))
    ]
    found = result(runs, "mse")
    # each task's mean over the seeds: 0.35, 0.65, 0.45, 0.55; standard deviation 0.12910
    assert (found.mean, found.ci95) == pytest.approx((0.5, 3.18245 * 0.12910 / 2), rel=1e-4)
    # the seeds' means are 0.4 and 0.6
    assert found.seed_sd == pytest.approx(0.2 / np.sqrt(2))
    assert seeds_text("mse", found) == "0, 2 (sd 0.141)"
    (tmp_path / "2" / "test_tasks.csv").unlink()
    # without the tasks' scores, the mean of the seeds' own intervals
    halves = [3.18245 * values.std(ddof=1) / 2 for values in (kept.SCORES[-1], more[-1])]
    anew = [read_run(run.folder) for run in runs]
    assert result(anew, "mse").ci95 == pytest.approx(np.mean(halves), rel=1e-4)


def test_seeds_that_all_score_alike_have_an_interval_of_no_width(tmp_path, sinusoid, recwarn):
    scores = np.full_like(kept.SCORES, 0.7)
    runs = [
        read_run(kept.keep(tmp_path / str(seed), sinusoid(), scores, seed=seed)) for seed in (0, 1)
    ]
    assert result(runs, "mse").ci95 == pytest.approx(0.0, abs=1e-12)
    assert not [w for w in recwarn if "Precision loss" in str(w.message)]


def test_several_seeds_have_no_interval_where_a_score_of_one_is_not_finite(tmp_path, sinusoid):
    diverged = kept.SCORES.copy()
    diverged[-1, 1] = np.nan
    runs = []
    for seed, scores in ((0, kept.SCORES), (1, diverged)):
        folder = kept.keep(tmp_path / str(seed), sinusoid(), scores, seed=seed)
        text = (folder / "summary.json").read_text().replace("NaN", "null")
        (folder / "summary.json").write_text(text)
        runs.append(read_run(folder))
    found = result(runs, "mse")
    assert (found.is_finite, found.ci95) == (False, None)


def test_accuracy_is_in_percent(tmp_path, sinusoid):
    scores = np.array([[0.2, 0.2, 0.4, 0.4], [0.8, 1.0, 0.8, 1.0]])
    run = read_run(kept.keep(tmp_path / "a", sinusoid(), scores, metric="accuracy"))
    assert score_text("accuracy", result([run], "accuracy")) == "90.00 ± 18.37"


def test_a_metric_that_was_not_measured_or_is_not_finite(tmp_path, sinusoid):
    scores = np.array([[0.2, 0.2], [0.8, np.nan]])
    run = read_run(kept.keep(tmp_path / "a", sinusoid(), kept.SCORES))
    assert result([run], "accuracy") is None
    folder = kept.keep(tmp_path / "b", sinusoid(), scores)
    text = (folder / "summary.json").read_text().replace("NaN", "null")
    (folder / "summary.json").write_text(text)
    found = result([read_run(folder)], "mse")
    assert not found.is_finite
    assert score_text("mse", found) == "not finite"
    assert seeds_text("mse", found) == "0"
    assert score_text("accuracy", None) == "–"
