import gzip
import json

import kept
import pytest
import yaml

from mamlbench.errors import UserError
from mamlbench.report.runs import collect, read_run


def test_a_run_is_read(tmp_path, sinusoid):
    run = read_run(kept.keep(tmp_path / "a", sinusoid(), seed=3))
    assert (run.seed, run.iterations, run.summary.metric) == (3, 70000, "mse")
    assert run.short_code == "commit 1234567"
    assert run.estimate("mse", 1).mean == pytest.approx(0.65)
    assert run.estimate("mse").mean == pytest.approx(0.4)
    assert run.estimate("mse", 3) is None
    assert run.estimate("accuracy") is None
    assert run.by_task("mse", 1).tolist() == [0.5, 0.7, 0.9, 0.5]


@pytest.mark.parametrize(
    ("select", "reached", "unfinished", "iterations"),
    [
        ("last", 40, False, 40),
        ("last", 120, False, 120),  # it may be trained for longer than the test's config says
        ("best", 40, False, 100),  # a finished run, whose best came before its end
        ("best", 40, True, 40),  # an interrupted run: only the best is certain
    ],
)
def test_the_iterations_of_a_tested_checkpoint(
    tmp_path, sinusoid, select, reached, unfinished, iterations
):
    config = sinusoid(training__iterations=100, evaluation__select=select)
    config["checkpoint"] = "outputs/elsewhere"
    train = {"iterations": 0, "seconds": 0.0}
    known = {"trained_iterations": reached, "of_unfinished": unfinished}
    folder = kept.keep(tmp_path / "a", config, train=train, **known)
    assert read_run(folder).iterations == iterations


def test_a_checkpoint_that_was_trained_on_something_else(tmp_path, sinusoid):
    config = sinusoid(training__iterations=100, evaluation__select="best")
    config["checkpoint"] = "outputs/elsewhere"
    known = {"trained_iterations": 40, "of_unfinished": False}
    train = {"iterations": 0, "seconds": 0.0}
    own = {"algorithm": "maml", "dataset": "sinusoid", "setting": "10shot", "iterations": 50}
    for number, (apart, on) in enumerate(
        (
            ({}, None),
            ({"dataset": "glyphs"}, "maml glyphs 10shot"),
            ({"algorithm": "fomaml"}, "fomaml sinusoid 10shot"),
            ({"otherwise": {"algorithm.clip": None}}, "algorithm.clip=null"),
        )
    ):
        made = {**own, **apart}
        folder = kept.keep(tmp_path / str(number), config, train=train, **known, trained_in=made)
        run = read_run(folder)
        assert run.iterations == 50  # those planned for the training, not the test's
        assert run.trained_on == run.options["trained_on"] == on


def test_a_tested_checkpoint_has_the_seed_of_its_training(tmp_path, sinusoid):
    """Whatever the seed of the test's command, because a test has no seed of its own."""
    made = {"algorithm": "maml", "dataset": "sinusoid", "setting": "10shot", "iterations": 50}
    config = {**sinusoid(), "checkpoint": "outputs/elsewhere"}
    folder = kept.keep(tmp_path / "a", config, seed=2, trained_in={**made, "seed": 1})
    assert read_run(folder).seed == 1


@pytest.mark.parametrize(
    "broken",
    [{"training": {}}, {"evaluation": {"tasks": "many"}}, {"training": {"iterations": "x"}}],
)
def test_a_config_that_is_no_runs(tmp_path, sinusoid, broken):
    folder = kept.keep(tmp_path / "a", sinusoid())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | broken))
    with pytest.raises(UserError, match=r"config.yaml is not a run's: (training|evaluation)\."):
        read_run(folder)


def test_scores_with_a_task_twice_are_none(tmp_path, sinusoid):
    folder = kept.keep(tmp_path / "a", sinusoid())
    with (folder / "test_tasks.csv").open("a") as file:
        file.write("0,2,0.5\n")
    assert read_run(folder).by_task("mse") is None


def test_how_far_a_run_with_patience_went_after_its_best_is_not_recorded(tmp_path, sinusoid):
    config = sinusoid(training__iterations=100, training__patience=2, evaluation__select="best")
    trained = {"iterations": 60, "seconds": 1.0}
    assert read_run(kept.keep(tmp_path / "a", config, train=trained)).iterations == 60
    config["checkpoint"] = "outputs/elsewhere"
    known = {"trained_iterations": 40, "of_unfinished": False}
    run = read_run(
        kept.keep(tmp_path / "b", config, train={"iterations": 0, "seconds": 0}, **known)
    )
    assert run.iterations is None


def test_all_runs_below_a_folder_and_what_is_no_run(tmp_path, sinusoid):
    kept.keep(tmp_path / "deep" / "er" / "a", sinusoid())
    for name in ("half", "foreign", "alone", "list", "scoreless", "older"):
        kept.keep(tmp_path / name, sinusoid(), seed=1)
    half = tmp_path / "half" / "summary.json"
    half.write_text(half.read_text()[:100])
    summary = json.loads((tmp_path / "older" / "summary.json").read_text())
    (tmp_path / "foreign" / "summary.json").write_text(json.dumps(summary | {"test": {}}))
    (tmp_path / "older" / "summary.json").write_text(
        json.dumps({name: value for name, value in summary.items() if name != "hash"})
    )
    summary["test"]["by_step"].append(None)
    (tmp_path / "scoreless" / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "alone" / "config.yaml").unlink()
    (tmp_path / "list" / "config.yaml").write_text("- 1\n")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.yaml").write_text("seed: 0\n")
    runs, skipped = collect([tmp_path])
    assert [run.folder.name for run in runs] == ["a"]
    assert {entry.path.name: entry.why for entry in skipped} == {
        "alone": "there is no config.yaml",
        "foreign": "summary.json is not a run's: test.by_step: field required",
        "half": "summary.json is half-written or damaged",
        "older": "summary.json is not a run's: hash: field required",
        "scoreless": "summary.json is not a run's: test.by_step: value error, has no score after "
        "the last inner step",
        "list": "config.yaml is not a run's: its content: input should be a valid dictionary or "
        "instance of config",
    }


def test_a_run_that_was_kept_elsewhere_too_is_one_run(tmp_path, sinusoid):
    kept.keep(tmp_path / "a", sinusoid())
    kept.keep(tmp_path / "copy", sinusoid())
    kept.keep(tmp_path / "other", sinusoid(), seed=1)
    runs, _ = collect([tmp_path, tmp_path / "a"])
    assert [run.folder.name for run in runs] == ["a", "other"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="none: there is no such folder"):
        collect([tmp_path / "none"])


@pytest.mark.parametrize(
    "content", [b"", b"iteration,task,step,mse\n1,0,2,x\n", b"\x1f\x8b\x08\x00"]
)
def test_damaged_numbers_are_named_and_left_out(tmp_path, sinusoid, caplog, content):
    run = read_run(kept.keep(tmp_path / "a", sinusoid()))
    for name in ("metrics.csv", "test_tasks.csv"):
        (run.folder / name).write_bytes(content)
    assert run.curve() is None
    assert run.by_task("mse") is None
    assert [r.getMessage().split("/")[-1] for r in caplog.records] == [
        "metrics.csv: half-written or damaged",
        "test_tasks.csv: half-written or damaged",
    ]


def test_a_run_that_logged_nothing_is_not_damaged(tmp_path, sinusoid, caplog):
    run = read_run(kept.keep(tmp_path / "a", sinusoid()))
    (run.folder / "metrics.csv").write_text("iteration\n")
    assert run.curve() is None
    assert not caplog.records


def test_a_torn_archive_is_named_and_left_out(tmp_path, sinusoid, caplog):
    run = read_run(kept.keep(tmp_path / "a", sinusoid()))
    tests = run.folder / "test_tasks.csv"
    (run.folder / "test_tasks.csv.gz").write_bytes(gzip.compress(tests.read_bytes())[:-12])
    tests.unlink()
    assert run.by_task("mse") is None
    assert "test_tasks.csv.gz: half-written or damaged" in caplog.text
