"""A run kept by `scripts/keep_reference.py` can be reported like the run itself."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import kept
import numpy as np
import pandas as pd
import pytest

from mamlbench.report.compare import compare

SCRIPT = Path(__file__).parents[2] / "scripts" / "keep_reference.py"


@pytest.fixture
def keep_reference(monkeypatch, tmp_path):
    """`keep_reference(run, name)`: the exit code and the folder of the kept run."""
    spec = importlib.util.spec_from_file_location("keep_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "REFERENCE", tmp_path / "reference")

    def command(run, name, *more):
        monkeypatch.setattr(sys, "argv", ["keep_reference.py", str(run), name, *more])
        return module.main(), tmp_path / "reference" / name

    return command


def test_a_kept_run_is_paired_with_any_other(keep_reference, tmp_path, sinusoid):
    run = kept.keep(tmp_path / "run", sinusoid())
    (run / "checkpoint.pt").write_bytes(b"large")
    code, target = keep_reference(run, "mine")
    assert code == 0
    assert sorted(path.name for path in target.iterdir()) == [
        *("config.yaml", "metrics.csv", "summary.json", "test_tasks.csv.gz")
    ]
    other = kept.keep(tmp_path / "other", sinusoid(), kept.SCORES - [0.1, 0.2, 0.1, 0.2])
    _, results = compare(target, other).sheets()
    assert results.rows[0][-1] == "−0.150 ± 0.092"
    first = (target / "test_tasks.csv.gz").read_bytes()
    keep_reference(run, "mine")
    assert (target / "test_tasks.csv.gz").read_bytes() == first


def test_figures_are_kept_unless_asked_not_to(keep_reference, tmp_path, sinusoid):
    run = kept.keep(tmp_path / "run", sinusoid())
    (run / "figures").mkdir()
    (run / "figures" / "fits.png").write_bytes(b"drawn")
    _, target = keep_reference(run, "mine")
    assert (target / "figures" / "fits.png").read_bytes() == b"drawn"
    keep_reference(run, "mine", "--no-figures")
    assert not (target / "figures").exists()


@pytest.mark.parametrize(("dataset", "shown"), [("omniglot", True), ("mini_imagenet", False)])
def test_pictures_that_are_not_free_stay_out(keep_reference, tmp_path, sinusoid, dataset, shown):
    run = kept.keep(tmp_path / "run", sinusoid(), dataset=dataset)
    (run / "figures").mkdir()
    for name in ("tasks.png", "learning_curve.png"):
        (run / "figures" / name).write_bytes(b"drawn")
    _, target = keep_reference(run, "mine")
    assert (target / "figures" / "tasks.png").exists() is shown
    assert (target / "figures" / "learning_curve.png").exists()


def test_of_many_steps_the_last_alone(keep_reference, tmp_path, sinusoid):
    scores = np.linspace(1, 2, 12 * 4).reshape(12, 4)
    run = kept.keep(tmp_path / "run", sinusoid(), scores)
    tests = pd.read_csv(run / "test_tasks.csv")
    tests.assign(loss=tests["mse"]).to_csv(run / "test_tasks.csv", index=False)
    _, target = keep_reference(run, "mine")
    rows = pd.read_csv(target / "test_tasks.csv.gz")
    assert list(rows.columns) == ["task", "step", "mse"]
    assert rows["step"].tolist() == [11] * 4
    assert rows["mse"].tolist() == pytest.approx(scores[-1], rel=1e-5)


def test_what_is_no_finished_run(keep_reference, tmp_path, capsys):
    assert keep_reference(tmp_path, "mine")[0] == 2
    assert "not the folder of a finished run" in capsys.readouterr().err


def test_what_is_kept_is_not_lost(keep_reference, tmp_path, sinusoid, capsys):
    run = kept.keep(tmp_path / "run", sinusoid())
    _, target = keep_reference(run, "mine")
    for name in ("", ".", "..", "a/b", str(tmp_path)):
        assert keep_reference(run, name)[0] == 2
        assert "accepted is the name of one folder" in capsys.readouterr().err
    assert keep_reference(target, "mine")[0] == 2
    assert "is already kept" in capsys.readouterr().err
    assert (target / "summary.json").is_file()
    assert [path.name for path in target.parent.iterdir()] == ["mine"]
