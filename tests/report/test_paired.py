"""Which results a report pairs, and what it says about the others."""

import kept
import numpy as np
import pytest

from mamlbench.report.folder_tables import folder_tables
from mamlbench.report.report import report_tables
from mamlbench.report.runs import read_run

BETTER = kept.SCORES - np.array([0.1, 0.2, 0.1, 0.2])
BEST = BETTER - np.array([0.02, 0.01, 0.02, 0.01])


@pytest.fixture
def shown(tmp_path, sinusoid):
    """`shown(NAME=(inner_lr, scores, seed, changes))`: sheets of the one table of these runs."""

    def of(**settings):
        runs = []
        for name, (rate, scores, seed, changes) in settings.items():
            config = sinusoid(algorithm__inner_lr=rate, **changes)
            runs.append(read_run(kept.keep(tmp_path / name, config, scores, seed=seed)))
        (table,) = folder_tables(runs)
        return table.sheets()

    return of


def keep_two_rows(folder):
    """Runs of two rows of MAML's table, on the same tasks."""
    for experiment, scores in (
        ("maml/sinusoid", BETTER),
        ("maml/sinusoid_pretrained", kept.SCORES),
    ):
        config = kept.composed(f"experiment={experiment}", "evaluation.tasks=4")
        kept.keep(folder / experiment, config, scores)


def test_a_papers_table_is_followed_by_the_differences_of_its_rows(tmp_path):
    """In each column, by its metric and at its step."""
    keep_two_rows(tmp_path)
    listed, paired = report_tables(["maml_sinusoid"], [tmp_path]).sheets()
    assert paired.title == f"{listed.title.partition(' (')[0]}: differences on the same test tasks"
    assert paired.columns[2:] == ("difference (± 95%, paired)", "tasks", "seeds", "relative to")
    # the runs have steps 0 to 2, so only the column of step 1 has results
    assert kept.texts(paired) == [
        ["Pretrained on all tasks", "1", "+0.150 ± 0.092", "4", "0", "MAML"]
    ]
    assert not [note for note in listed.notes if note.startswith("not paired")]


def test_a_row_of_a_papers_table_without_a_partner_is_named(tmp_path):
    keep_two_rows(tmp_path)
    (tmp_path / "maml/sinusoid/test_tasks.csv").unlink()
    (listed,) = report_tables(["maml_sinusoid"], [tmp_path]).sheets()
    no_scores = "the scores of each test task were not kept"
    alone = "no other result on its test tasks has finite scores and a seed in common"
    assert [note for note in listed.notes if note.startswith("not paired")] == [
        f"not paired: MAML (1): {no_scores}",
        f"not paired: Pretrained on all tasks (1): {alone}",
    ]


def test_the_best_may_have_other_test_tasks_than_the_rest(shown):
    listed, paired = shown(
        best=(0.01, BEST, 0, {"dataset__phase": [0.0, 2.0]}),
        a=(0.02, BETTER, 0, {}),
        b=(0.03, kept.SCORES, 0, {}),
    )
    names = [row[0] for row in kept.texts(listed)]
    assert names[0].endswith("phase=[0.0, 2.0]")
    assert [name.endswith("[1]") for name in names] == [False, True, True]
    (mark,) = [note for note in listed.notes if note.startswith("[1]")]
    apart = "dataset.phase is [0.0, 1.0] and [0.0, 2.0]"
    assert mark == f"[1] its test tasks differ from the best's: {apart}"
    assert f"not paired: {names[0]}: different test tasks" in listed.notes
    ours, theirs = (name.removesuffix("[1]") for name in (names[2], names[1]))
    assert kept.texts(paired) == [[ours, "+0.150 ± 0.092", "4", "0", theirs]]


def test_of_a_few_each_is_compared_with_each(shown):
    _, paired = shown(a=(0.01, kept.SCORES, 0, {}), b=(0.02, BETTER, 0, {}), c=(0.03, BEST, 0, {}))
    assert [(row[0][-4:], row[-1][-4:]) for row in kept.texts(paired)] == [
        ("0.02", "0.03"),
        ("0.01", "0.03"),
        ("0.01", "0.02"),
    ]
    assert paired.notes == []


def test_of_many_those_of_the_same_seeds_are_compared(shown):
    """Of results with other seeds, the best is compared with the best of all."""
    runs = {f"a{n}": (0.01 + 0.001 * n, kept.SCORES + n, 0, {}) for n in range(3)}
    for seed in (0, 1):
        for n in (0, 1):
            runs[f"b{n}{seed}"] = (
                0.02 + 0.001 * n,
                kept.SCORES + 10 + n + seed,
                seed,
                {},
            )
    _, paired = shown(**runs)
    assert [(row[0][-5:], row[-1][-5:], row[1], row[3]) for row in kept.texts(paired)] == [
        ("0.011", "=0.01", "+1.000 ± 0.000", "0"),
        ("0.012", "=0.01", "+2.000 ± 0.000", "0"),
        ("0.012", "0.011", "+1.000 ± 0.000", "0"),
        ("=0.02", "=0.01", "+10.000 ± 0.000", "only 0 in both"),
        ("0.021", "=0.02", "+1.000 ± 0.000", "0, 1"),
    ]
    note = "only seeds that both have are paired; the means above are over all seeds"
    assert paired.notes == [note]


def test_a_large_group_is_compared_with_its_best(shown):
    listed, paired = shown(
        **{f"a{n}": (0.01 + 0.001 * n, kept.SCORES + n, 0, {}) for n in range(5)}
    )
    assert {row[-1] for row in kept.texts(paired)} == {"maml inner_lr=0.01"}
    assert [row[0] for row in kept.texts(paired)] == [row[0] for row in kept.texts(listed)[1:]]


def test_single_runs_of_other_seeds_say_which(shown):
    _, paired = shown(a=(0.01, kept.SCORES, 3, {}), b=(0.02, BETTER, 5, {}))
    assert kept.texts(paired)[0][1:4] == ["+0.150 ± 0.092", "4", "3 against 5"]


def test_results_in_no_pair_are_named(shown):
    diverged = kept.SCORES.copy()
    diverged[-1, 2] = np.nan
    listed, paired = shown(
        a=(0.01, kept.SCORES, 0, {}),
        b=(0.02, BETTER, 0, {}),
        c=(0.03, diverged, 0, {}),
        d0=(0.04, kept.SCORES, 1, {}),
        d1=(0.04, kept.SCORES, 2, {}),
    )
    assert [row[0] for row in kept.texts(paired)] == ["maml inner_lr=0.01"]
    assert [note for note in listed.notes if note.startswith("not paired")] == [
        "not paired: maml inner_lr=0.03: a score is not finite",
        "not paired: maml inner_lr=0.04: "
        "no other result on its test tasks has finite scores and a seed in common",
    ]


def test_what_was_tested_otherwise_on_the_same_tasks_says_so(shown):
    _, paired = shown(
        a=(0.01, kept.SCORES, 0, {}), b=(0.02, BETTER, 0, {"evaluation__transductive": False})
    )
    assert len(kept.texts(paired)) == 1
    assert paired.notes == ["some tests differ in evaluation.transductive (see above)"]


def test_one_result_alone_has_no_partner_to_lack(shown):
    (listed,) = shown(a=(0.01, kept.SCORES, 0, {}))
    assert not [note for note in listed.notes if note.startswith("not paired")]
