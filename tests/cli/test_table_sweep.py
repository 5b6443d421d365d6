"""`mamlbench -m table=NAME`: runs and seeds as one sweep, gaps, and one-line errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from runs import RUN

pytestmark = pytest.mark.usefixtures("no_figures")

TABLE = """# @package table
# A table of ours.
title: A table
paper: arXiv 0000.00000
place: Table 1
metric: mse
seeds: [0, 1]
rows: [MAML, Otherwise, Others]
columns: ["1"]
cells:
  - {row: MAML, column: "1", step: 1, published: 0.67, experiment: maml/sinusoid}
  - row: Otherwise
    column: "1"
    experiment: maml/sinusoid
    evaluate: [evaluation.shots=7]
  - {row: Others, column: "1", published: 4.19}
"""
TINY = [override for override in RUN if not override.startswith("algorithm=")]


@pytest.fixture
def own(tmp_path):
    """Arguments that name a user's table."""
    (tmp_path / "conf" / "table").mkdir(parents=True)
    (tmp_path / "conf" / "table" / "mine.yaml").write_text(TABLE)
    return ["--config-dir", str(tmp_path / "conf"), "-m", "+table=mine", *TINY]


def summaries() -> dict[str, dict]:
    found = sorted(Path("outputs").rglob("summary.json"))
    return {path.parent.as_posix(): json.loads(path.read_text()) for path in found}


def test_runs_and_seeds_and_other_tests_then_gaps_only(mamlbench, own):
    assert mamlbench(*own).code == 0
    first = summaries()
    assert sorted(s["seed"] for s in first.values()) == [0, 0, 1, 1]
    tests = {folder for folder, summary in first.items() if summary["checkpoint"]}
    assert len(tests) == 2
    for folder, summary in first.items():
        shots = 7 if folder in tests else 5
        assert f" {shots} shots, " in summary["evaluation"]
        assert summary["trained_iterations"] == 2

    gap = min(tests)
    (Path(gap) / "summary.json").unlink()
    stamps = {folder: (Path(folder) / "config.yaml").stat().st_mtime_ns for folder in first}
    assert mamlbench(*own).code == 0
    assert summaries().keys() == first.keys()
    changed = [f for f in first if (Path(f) / "config.yaml").stat().st_mtime_ns != stamps[f]]
    assert changed == [gap]


def test_all_jobs_in_a_process_of_their_own(own, tmp_path):
    """In a new process, because Hydra loads its plugins and their classes once per process."""
    line = [sys.executable, "-m", "mamlbench", *own, "training.iterations=-1"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Launching 2 jobs" in done.stderr
    for seed in (0, 1):
        assert f": experiment=maml/sinusoid seed={seed} " in done.stderr


def test_some_seeds_of_a_sweep_within_a_budget(mamlbench, own):
    chosen = ["table.rows=[MAML]", "table.seeds=[4]", "algorithm.inner_lr=0.1,0.2", "budget=smoke"]
    assert mamlbench(*own, *chosen).code == 0
    found = summaries()
    assert [summary["seed"] for summary in found.values()] == [4, 4]
    assert {s["shortened"]["budget"] for s in found.values()} == {"smoke"}
    assert all("table" not in summary["command"] for summary in found.values())
    assert all("experiment=maml/sinusoid" in summary["command"] for summary in found.values())


def test_one_run_with_another_test(mamlbench):
    assert mamlbench(*RUN, 'also_test=[["evaluation.tasks=2"]]').code == 0
    trained, tested = sorted(summaries().values(), key=lambda summary: bool(summary["checkpoint"]))
    assert trained["test"]["mse"]["n_tasks"] != tested["test"]["mse"]["n_tasks"] == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-m", "+table=maml_sinsoid"], "table=maml_sinsoid: accepted is .*'maml_sinusoid'"),
        (
            ["table=maml_sinusoid", "budget=smoke"],
            "table=maml_sinusoid: .* -m: mamlbench -m table=maml_sinusoid budget=smoke",
        ),
        (
            ["-m", "table=maml_sinusoid", "table.rows=[MAM]"],
            r"table\.rows=MAM: accepted is .*\(did you mean 'MAML'\?\)",
        ),
        (
            ["-m", "table=maml_sinusoid", "table.seeds=[a]"],
            r"table\.seeds=\[a\]: accepted is a list, \[whole number, ...\]",
        ),
        (
            ["-m", "table=maml_sinusoid", "table.seeds=[]"],
            r"table\.seeds=\[\]: accepted is a list, \[whole number, ...\]",
        ),
        (
            ["-m", "table=maml_sinusoid", "experiment=maml/sinusoid"],
            "experiment=maml/sinusoid: accepted is null, because table=maml_sinusoid .*",
        ),
        (
            ["-m", "table=leo_mini_imagenet", "table.rows=[SNAIL]"],
            "table=leo_mini_imagenet: none of these rows has a run: .*",
        ),
        (
            ["-m", "table=maml_sinusoid", "algorithm.inner_ls=0.1"],
            r"algorithm\.inner_ls=0\.1: algorithm has no option .*",
        ),
    ],
)
def test_mistakes(mamlbench, full_match, arguments, complaint):
    result = mamlbench(*arguments)
    assert result.code == 2
    full_match(complaint if complaint.endswith("*") else complaint + ".*", result.complaint)
    assert not Path("outputs").exists()


def test_a_table_is_shown(mamlbench):
    result = mamlbench("table=maml_sinusoid", "--cfg", "job")
    assert result.code == 0
    assert "place: Table 2" in result.out
