"""Edge cases of verdicts, and of which runs may be paired or pooled."""

import kept
import numpy as np
import pytest
from test_matching import cell, row_of, table
from test_results import ours

from mamlbench.report.paired import why_not
from mamlbench.report.results import result, verdict
from mamlbench.report.runs import read_run


@pytest.mark.parametrize(
    ("metric", "mean", "ci95", "published", "interval", "kind", "word", "why"),
    [
        # the edge is within, in spite of binary rounding: 98.7 - 98.3 > 0.4
        ("accuracy", 98.3, 1.0, 98.7, 0.4, "tasks95", "within", "the printed interval"),
        ("accuracy", 98.29, 0.1, 98.7, 0.4, "tasks95", "below", "intervals overlap"),
        ("accuracy", 97.65, 0.1, 98.65, None, None, "within", "1 point"),
        ("accuracy", 97.64, 0.1, 98.65, None, None, "below", "1 point"),
        ("mse", 0.43, 0.08, 0.35, None, None, "within", "our interval"),
        # intervals overlap if their sum exceeds the gap
        ("accuracy", 98.0, 0.4, 98.7, 0.4, "tasks95", "below", "intervals overlap"),
        ("accuracy", 97.8, 0.4, 98.7, 0.4, "tasks95", "below", "the printed interval"),
        # a printed ± narrower than our interval has no effect
        ("mse", 0.40, 0.08, 0.35, 0.03, "seeds_sd", "within", "our interval"),
    ],
)
def test_verdicts_on_the_edge(metric, mean, ci95, published, interval, kind, word, why):
    found = verdict(ours(mean, ci95), metric, published, interval, kind)
    assert (found.word, found.why) == (word, why)


def test_another_mujoco_makes_other_test_tasks(tmp_path, sinusoid):
    config = sinusoid(dataset__frame_skip=1)
    one, same, other = (
        read_run(kept.keep(tmp_path / str(i), config, versions={"mujoco": version}))
        for i, version in enumerate(("3.3.0", "3.3.0", "4.0.0"))
    )
    assert why_not(one, same) is None
    assert why_not(one, other) == "MuJoCo is 3.3.0 and 4.0.0"


def test_training_that_went_on_longer_is_another_result(tmp_path, sinusoid):
    for number, (length, word) in enumerate(((70_000, "within"), (70_001, "not run"))):
        config = sinusoid(training__iterations=length, algorithm__iterations=length)
        run = read_run(kept.keep(tmp_path / str(number), config))
        assert row_of(table(cell()), [run])[0][-1].startswith(word)


def test_skipped_outer_steps_are_said(tmp_path, sinusoid):
    runs = []
    for seed, skipped in enumerate((2, 0, 1)):
        train = {"iterations": 70_000, "seconds": 1.0, "skipped": skipped}
        runs.append(read_run(kept.keep(tmp_path / str(seed), sinusoid(), seed=seed, train=train)))
    assert row_of(table(cell()), runs)[1][0] == "[1] 3 outer steps skipped"
    assert not any("skipped" in note for note in row_of(table(cell()), runs[1:2])[1])


def test_seeds_of_unlike_numbers_of_tasks(tmp_path, sinusoid):
    """The interval is over the tasks that all seeds share; the smallest number is reported."""
    fewer = sinusoid(evaluation__tasks=3)
    runs = [
        read_run(kept.keep(tmp_path / "0", sinusoid(), seed=0)),
        read_run(kept.keep(tmp_path / "1", fewer, kept.SCORES[:, :3], seed=1)),
    ]
    found = result(runs, "mse")
    values = kept.SCORES[-1, :3]
    assert found.n_tasks == 3
    assert found.ci95 == pytest.approx(4.302653 * values.std(ddof=1) / np.sqrt(3), rel=1e-6)


def test_shots_are_the_datasets_where_the_protocol_names_none(tmp_path, sinusoid):
    five, ten = (
        read_run(kept.keep(tmp_path / str(k), sinusoid(evaluation__shots=None, dataset__shots=k)))
        for k in (5, 10)
    )
    assert why_not(five, ten) == "evaluation.shots is 5 and 10, evaluation.queries is 5 and 10"
    named = read_run(kept.keep(tmp_path / "named", sinusoid(evaluation__shots=5)))
    assert why_not(five, named) is None
