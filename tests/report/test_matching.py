import kept
import pytest

from mamlbench.errors import UserError
from mamlbench.report.matching import match
from mamlbench.report.paper_tables import paper_table
from mamlbench.report.runs import read_run
from mamlbench.tables import Cell, Printed, Table, TableRun

RUN = TableRun("maml/sinusoid", ("evaluation.tasks=4",))


def table(*cells, **options):
    rows = tuple(dict.fromkeys(cell.row for cell in cells))
    columns = tuple(dict.fromkeys(cell.column for cell in cells))
    return Table("mine", "Mine", "arXiv 1", "Table 1", "mse", rows, columns, cells, **options)


def cell(row="MAML", run=RUN, step=1, published="0.67", **options):
    return Cell(row, "1", run, "mse", step, Printed(published), **options)


def shown(tables, runs, strict=False):
    return paper_table(tables, match([tables], runs), strict).sheet()


def row_of(tables, runs):
    found = shown(tables, runs)
    (row,) = kept.texts(found)
    return row, found.notes


def test_a_run_of_the_cells_setting(tmp_path, sinusoid):
    runs = [read_run(kept.keep(tmp_path / "a", sinusoid()))]
    row, notes = row_of(table(cell()), runs)
    assert row == [
        *("MAML", "1", "0.67", "0.650 ± 0.305", "−0.020", "0", "70,000", "within (our interval)")
    ]
    assert notes == ["protocol: maml: 4 tasks, shots queries per class"]


def test_a_run_of_another_setting_is_not_of_the_cell(tmp_path, sinusoid):
    for number, change in enumerate(
        [
            {"algorithm__inner_lr": 0.02},
            {"dataset__shots": 5},
            {"training__meta_batch_size": 4},
            {"network__hidden": [40]},
        ]
    ):
        runs = [read_run(kept.keep(tmp_path / str(number), sinusoid(**change)))]
        row, _ = row_of(table(cell()), runs)
        assert row[2:] == ["0.67", "–", "–", "–", "–", "not run"]


def test_what_does_not_make_a_setting(tmp_path, sinusoid):
    config = sinusoid(
        training__log_every=7,
        training__validate_every=11,
        evaluation__score_every=2,
        hardware__task_chunk=3,
    )
    row, _ = row_of(table(cell()), [read_run(kept.keep(tmp_path / "a", config, seed=9))])
    assert (row[5], row[-1]) == ("9", "within (our interval)")


def test_another_precision_is_another_result_with_a_footnote(tmp_path, sinusoid):
    config = sinusoid(hardware__precision="bf16")
    runs = [
        read_run(kept.keep(tmp_path / "a", sinusoid())),
        read_run(kept.keep(tmp_path / "b", config, kept.SCORES * 2, seed=1)),
    ]
    found = shown(table(cell()), runs)
    assert [row[3] for row in kept.texts(found)] == ["0.650 ± 0.305[1]", "1.300 ± 0.609[1][2]"]
    assert found.notes[:2] == ["[1] commit 1234567", "[2] computed in bf16"]
    row, notes = row_of(table(cell()), runs[1:])
    assert (row[3], notes[0]) == ("1.300 ± 0.609[1]", "[1] computed in bf16")


def test_a_shorter_run_says_so(tmp_path, sinusoid):
    config = sinusoid(training__iterations=7000, algorithm__iterations=7000)
    row, _ = row_of(table(cell()), [read_run(kept.keep(tmp_path / "a", config))])
    assert row[-2:] == ["7,000 of 70,000", "shortened"]


def test_a_longer_run_is_another_result(tmp_path, sinusoid):
    """A cell that asks for an untrained network does not match a trained one."""
    runs = [read_run(kept.keep(tmp_path / "a", sinusoid()))]
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=4", "training.iterations=0"))
    assert row_of(table(cell(run=asked)), runs)[0][-1] == "not run"


def test_an_untrained_network_is_no_short_run(tmp_path):
    untrained = TableRun("maml/sinusoid", ("evaluation.tasks=4", "training.iterations=0"))
    config = kept.composed(f"experiment={untrained.experiment}", *untrained.overrides)
    runs = [read_run(kept.keep(tmp_path / "a", config))]
    assert row_of(table(cell()), runs)[0][-1] == "not run"
    assert row_of(table(cell(run=untrained)), runs)[0][-1] == "within (our interval)"


def test_a_warm_start_is_another_setting(tmp_path, sinusoid):
    runs = [read_run(kept.keep(tmp_path / "a", {**sinusoid(), "warm_start": "outputs/other"}))]
    assert row_of(table(cell()), runs)[0][-1] == "not run"
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=4", "warm_start=outputs/mine"))
    assert row_of(table(cell(run=asked)), runs)[0][-1] == "within (our interval)"


def test_another_warm_start_is_another_result_with_a_footnote(tmp_path, sinusoid):
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=4", "warm_start=outputs/mine"))
    runs = [
        read_run(kept.keep(tmp_path / name, {**sinusoid(), "warm_start": name}, seed=seed))
        for seed, name in enumerate("ab")
    ]
    found = shown(table(cell(run=asked)), runs)
    assert [row[3] for row in kept.texts(found)] == ["0.650 ± 0.305[1][2]", "0.650 ± 0.305[1][3]"]
    assert found.notes[1:3] == ["[2] started from a", "[3] started from b"]


def test_iterations_that_are_not_recorded_are_no_full_length(tmp_path, sinusoid):
    patient = {"training__patience": 3, "evaluation__select": "best"}
    config = {**sinusoid(**patient), "checkpoint": "outputs/elsewhere"}
    train = {"iterations": 0, "seconds": 0.0}
    runs = [read_run(kept.keep(tmp_path / "a", config, train=train, commit="f" * 40))]
    asked = (*RUN.overrides, "training.patience=3", "evaluation.select=best")
    tables = table(cell(run=TableRun("maml/sinusoid", asked)))
    assert row_of(tables, runs)[0][-2:] == ["not recorded", "shortened"]
    # of two that lack full length, the known length is shown; a full-length run hides both
    config = sinusoid(training__iterations=7000, algorithm__iterations=7000, **patient)
    runs.append(read_run(kept.keep(tmp_path / "b", config, commit="f" * 40)))
    assert row_of(tables, runs)[0][-2] == "7,000 of 70,000"
    runs.append(read_run(kept.keep(tmp_path / "c", sinusoid(**patient))))
    assert row_of(tables, runs)[0][-2] == "70,000"
    # a network of unknown training length does not count as untrained
    untrained = TableRun("maml/sinusoid", (*asked, "training.iterations=0"))
    assert row_of(table(cell(run=untrained)), runs[:1])[0][-1] == "not run"


def test_seeds_that_lost_patience_apart_are_one_result(tmp_path, sinusoid):
    runs = []
    for seed, done in enumerate((10_000, 16_000, 70_000)):
        train = {"iterations": done, "seconds": 1.0}
        config = sinusoid(training__patience=5)
        runs.append(read_run(kept.keep(tmp_path / str(seed), config, seed=seed, train=train)))
    row, _ = row_of(table(cell()), runs)
    assert row[5:] == ["0, 1, 2 (sd 0.000)", "10,000–70,000 of 70,000", "shortened"]


@pytest.mark.parametrize("change", [{"shots": 10}, {"transductive": False}, {"active_rounds": 2}])
def test_a_test_of_something_else_is_not_of_the_cell(tmp_path, sinusoid, change):
    config = sinusoid(**{f"evaluation__{name}": value for name, value in change.items()})
    runs = [read_run(kept.keep(tmp_path / "a", config))]
    assert row_of(table(cell()), runs)[0][-1] == "not run"


def test_fewer_test_tasks_are_a_shorter_run(tmp_path, sinusoid):
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=8",))
    row, _ = row_of(table(cell(run=asked)), [read_run(kept.keep(tmp_path / "a", sinusoid()))])
    assert row[-2:] == ["70,000", "shortened (4 of 8 test tasks)"]


def test_of_shorter_runs_the_longest_and_none_beside_a_whole_one(tmp_path, sinusoid):
    runs = []
    for count in (7000, 9000):
        config = sinusoid(training__iterations=count, algorithm__iterations=count)
        runs.append(read_run(kept.keep(tmp_path / str(count), config)))
    row, _ = row_of(table(cell()), runs)
    assert row[-2] == "9,000 of 70,000"
    runs.append(read_run(kept.keep(tmp_path / "whole", sinusoid())))
    row, _ = row_of(table(cell()), runs)
    assert row[-2] == "70,000"


def test_a_run_from_before_an_option_was_there(tmp_path, sinusoid):
    config = sinusoid()
    del config["algorithm"]["adapt_norm"], config["evaluation"]["active_rounds"]
    runs = [read_run(kept.keep(tmp_path / "a", config))]
    assert row_of(table(cell()), runs)[0][-1] == "within (our interval)"
    # but not if the cell asks for another value than the default
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=4", "algorithm.adapt_norm=true"))
    assert row_of(table(cell(run=asked)), runs)[0][-1] == "not run"
    # its value is the class's default, whatever new configs say: no script's goals
    drawn = TableRun("maml/half_cheetah_dir", ("evaluation.tasks=4",))
    config = kept.composed(f"experiment={drawn.experiment}", *drawn.overrides)
    del config["dataset"]["test_goals_seed"]
    older = [read_run(kept.keep(tmp_path / "b", config, metric="return"))]
    asked = Cell("MAML", "1", drawn, "return", 1, Printed("0.67"))
    row, notes = row_of(table(asked), older)
    assert row[-1] != "not run"
    assert notes[0] == "[1] tested with dataset.test_goals_seed=null (the paper: 1)"


def test_another_test_of_what_was_learned(tmp_path, sinusoid):
    config = sinusoid(evaluation__transductive=False)
    config["checkpoint"] = "outputs/somewhere"
    runs = [
        read_run(kept.keep(tmp_path / "own", sinusoid())),
        read_run(kept.keep(tmp_path / "other", config, kept.SCORES + 1)),
    ]
    other = TableRun("maml/sinusoid", RUN.overrides, ("evaluation.transductive=false",))
    found = shown(table(cell(), cell("without", run=other)), runs)
    assert [row[3] for row in kept.texts(found)] == ["0.650 ± 0.305", "1.650 ± 0.305"]


def test_what_was_trained_on_something_else_is_not_of_the_cell(tmp_path, sinusoid):
    config = {**sinusoid(), "checkpoint": "outputs/somewhere"}
    own = {"algorithm": "maml", "dataset": "sinusoid", "setting": "10shot", "iterations": 70_000}
    known = {"trained_iterations": 70_000, "of_unfinished": False}
    others = (
        {"dataset": "harmonic_sinusoid"},
        {"algorithm": "fomaml"},
        {"otherwise": {"algorithm.outer_lr": 0.5}},
    )
    for number, apart in enumerate(({}, {"otherwise": {}}, *others)):
        made = {**own, **apart}
        run = read_run(kept.keep(tmp_path / str(number), config, **known, trained_in=made))
        word = "not run" if apart in others else "within"
        assert row_of(table(cell()), [run])[0][-1].startswith(word)


def test_shortened_runs_behind_a_longer_one_are_named(tmp_path, sinusoid):
    short = sinusoid(training__iterations=7000)
    runs = [read_run(kept.keep(tmp_path / str(s), short, seed=s)) for s in range(3)]
    _, notes = row_of(table(cell()), runs)
    assert not any("not shown" in note for note in notes)
    runs.append(read_run(kept.keep(tmp_path / "whole", sinusoid())))
    row, notes = row_of(table(cell()), runs)
    assert row[-2] == "70,000"
    assert notes[-1] == f"not shown, because there are longer runs: {tmp_path / '0'} and 2 more"
    own, other = table(cell()), table(cell(run=TableRun("maml/sinusoid", ("dataset.shots=7",))))
    notes = paper_table(other, match([own, other], runs)).sheet().notes
    assert not any("not shown" in note for note in notes)


def test_another_protocol_has_a_footnote_or_is_refused(tmp_path, sinusoid):
    config = sinusoid(evaluation__queries=15)
    runs = [read_run(kept.keep(tmp_path / "a", config))]
    row, notes = row_of(table(cell()), runs)
    assert row[3] == "0.650 ± 0.305[1]"
    assert notes[0] == ("[1] tested with evaluation.queries=15 (the paper: shots)")
    with pytest.raises(UserError, match=r"MAML, 1: .*a was tested with evaluation.queries=15"):
        shown(table(cell()), runs, strict=True)
    # if a run has the cell's own protocol, the other run is not shown
    runs.append(read_run(kept.keep(tmp_path / "b", sinusoid(), kept.SCORES * 2)))
    row, notes = row_of(table(cell()), runs)
    assert row[3] == "1.300 ± 0.609"
    assert notes[1] == (
        f"not shown: {tmp_path / 'a'}, tested with evaluation.queries=15 (the paper: shots)"
    )
    assert shown(table(cell()), runs, strict=True).notes == notes


def test_different_code_is_shown_twice(tmp_path, sinusoid):
    runs = [
        read_run(kept.keep(tmp_path / "old", sinusoid())),
        read_run(kept.keep(tmp_path / "new", sinusoid(), kept.SCORES * 2, commit="f" * 40 + "+")),
    ]
    found = shown(table(cell()), runs)
    assert sorted(row[3] for row in kept.texts(found)) == ["0.650 ± 0.305[2]", "1.300 ± 0.609[1]"]
    assert found.notes[:2] == ["[1] commit fffffff+", "[2] commit 1234567"]


def test_seeds_of_different_code_are_one_result_with_a_footnote(tmp_path, sinusoid):
    runs = [
        read_run(kept.keep(tmp_path / "0", sinusoid(), seed=0)),
        read_run(kept.keep(tmp_path / "1", sinusoid(), seed=1, commit=None)),
    ]
    row, notes = row_of(table(cell()), runs)
    assert row[5] == "0, 1 (sd 0.000)"
    assert notes[0] == (
        "[1] the code differs by seed: commit 1234567 (seed 0), version 0.1.0 (seed 1)"
    )


def test_published_values_and_their_kinds(tmp_path, sinusoid):
    cells = [
        cell("a", interval=Printed("0.40"), interval_kind="tasks95"),
        cell("b", run=None, interval=Printed("0.05"), interval_kind="seeds_sd", verified=False),
        cell("c", run=None, note="a figure"),
    ]
    found = shown(table(*cells, footnotes=("Of all.",)), [])
    assert found.columns[2] == "published"
    assert [row[2] for row in kept.texts(found)] == [
        "0.67 ± 0.40 (95% over tasks)",
        "0.67 ± 0.05 (sd over seeds)[1]",
        "0.67[2]",
    ]
    assert [row[-1] for row in kept.texts(found)] == ["not run", "–", "–"]
    assert found.notes == ["[1] published: not verified", "[2] a figure", "Of all."]
    assert shown(table(cells[0]), []).columns[2] == "published (± 95% over tasks)"
    assert kept.texts(shown(table(cells[0]), []))[0][2] == "0.67 ± 0.40"


def test_diverged_tasks_are_said(tmp_path, sinusoid):
    runs = [read_run(kept.keep(tmp_path / "a", sinusoid(), diverged_tasks=2))]
    _, notes = row_of(table(cell()), runs)
    assert notes[0] == "[1] 2 test tasks diverged"


def test_results_on_other_data_have_a_footnote(tmp_path, sinusoid):
    runs = [
        read_run(kept.keep(tmp_path / "a", sinusoid(), data_sha256="a" * 64)),
        read_run(kept.keep(tmp_path / "b", sinusoid(), data_sha256="b" * 64, commit="c" * 40)),
    ]
    found = shown(table(cell()), runs)
    assert sorted(row[3] for row in kept.texts(found)) == [
        "0.650 ± 0.305[1][2]",
        "0.650 ± 0.305[3][4]",
    ]
    assert found.notes[:4] == [
        *("[1] commit 1234567", "[2] sinusoid data with sha256 aaaaaaaaaaaa"),
        *("[3] commit ccccccc", "[4] sinusoid data with sha256 bbbbbbbbbbbb"),
    ]


def test_a_cell_that_cannot_be_composed_is_one_line(tmp_path, sinusoid):
    runs = [read_run(kept.keep(tmp_path / "a", sinusoid()))]
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=4", "algorithm.no_such=1"))
    with pytest.raises(UserError, match=r"a table's cell, experiment=maml/sinusoid .*no_such"):
        shown(table(cell(run=asked)), runs)
