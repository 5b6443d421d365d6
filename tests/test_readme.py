"""The README's examples run as they are printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pandas as pd
import pytest
import runs
import torch

from mamlbench.compose import experiment
from mamlbench.datasets import Sinusoid
from mamlbench.networks import MLP
from mamlbench.report import readme
from mamlbench.report.report import report_folders

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "outputs" / "reference"


def block(language: str, beginning: str) -> str:
    """The fenced block of `language` with this beginning."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    (found,) = [text for text in blocks if text.startswith(beginning)]
    return found


def test_the_library_in_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    text = block("python", "from mamlbench.algorithms import MAML")
    exec(compile(text.replace("range(2000)", "range(20)"), "README.md", "exec"), {})
    scores = [float(mse) for mse in re.findall(r"MSE ([\d.]+)\n", capsys.readouterr().out)]
    assert len(scores) == 3
    assert all(0.5 < score < 10 for score in scores)


@pytest.mark.usefixtures("no_figures")
def test_a_run_of_an_own_config_in_five_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_conf/algorithm").mkdir(parents=True)
    Path("my_conf/algorithm/mine.yaml").write_text("defaults: [maml]\ninner_steps: 2\n")
    text = block("python", "from mamlbench import checkpoint")
    tiny = str(["algorithm=mine", *runs.RUN])
    exec(compile(text.replace('["algorithm=mine"]', tiny), "README.md", "exec"), {})
    assert 0.1 < float(capsys.readouterr().out.splitlines()[-1]) < 10


def test_the_worked_example_of_an_algorithm(tmp_path: Path) -> None:
    """Its two files, added to a copy of the project, pass the contracts of every algorithm."""
    ignore = shutil.ignore_patterns("__pycache__", "conf")
    shutil.copytree(ROOT / "mamlbench", tmp_path / "mamlbench", ignore=ignore)
    shutil.copytree(ROOT / "conf", tmp_path / "mamlbench" / "conf")
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=ignore)
    code = block("python", '"""MAML whose inner steps all have one length."""')
    (tmp_path / "mamlbench/algorithms/unit_maml.py").write_text(code)
    yaml = block("yaml", "# MAML whose inner steps all have one length.")
    (tmp_path / "mamlbench/conf/algorithm/unit_maml.yaml").write_text(yaml)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("contracts/test_every_algorithm.py", "-k", "unit_maml"),
        ],
        cwd=tmp_path / "tests",
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b\d+ passed", done.stdout)


def test_the_steps_of_the_worked_example_have_one_length() -> None:
    module = types.ModuleType("unit_maml")
    exec(block("python", '"""MAML whose inner steps all have one length."""'), module.__dict__)
    data = Sinusoid(shots=5)
    learner = module.UnitMAML(MLP((1,), 1, hidden=(4,)), data.objective, inner_lr=0.001)
    tasks = data.sample("test", 0, 0, 2, 5, 1)
    before, after = learner.adapt(tasks.support, 1).params
    for name in learner.adapted_names:
        moved = (before[name] - after[name]).flatten(1).norm(dim=1)
        assert moved.tolist() == pytest.approx([0.001] * 2, rel=1e-3)


def test_the_worked_example_of_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mamlbench.datasets.parabola"
    module = types.ModuleType(name)
    exec(compile(block("python", '"""Parabolas'), name, "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "parabola.yaml").write_text(block("yaml", "# Parabolas."))

    line = [f"outputs={tmp_path}", "dataset=parabola", *runs.RUN[1:]]
    run = experiment([*line, f"hydra.searchpath=[file://{tmp_path / 'conf'}]"])
    run.run()
    tasks = run.dataset.sample("test", 0, 0, 3, 5, 5)
    ratio = tasks.query.y / tasks.query.x**2
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-3, atol=1e-3)


def test_the_speeds_are_those_of_the_kept_benchmark() -> None:
    section = README.split("## Speed")[1].split("\n## ")[0]
    tables = section.split("| one outer step of ")[1:]
    for table, name in zip(tables, ("benchmark", "benchmark_h100"), strict=True):
        kept = pd.read_csv(REFERENCE / "benchmark" / f"{name}.csv")
        lines = [line.strip("|") for line in table.splitlines()[2:] if line.startswith("| ")]
        cells = [[cell.strip() for cell in line.split("|")] for line in lines]
        assert [[row[1], row[3]] for row in cells] == [
            [f"{1e3 * case.ours_s:,.{1 if case.ours_s < 0.1 else 0}f}", f"{case.ratio:.1f}"]
            for case in kept.itertuples()
        ]


def test_the_results_are_those_of_the_kept_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    made = readme.block(report_folders([Path("outputs/reference")]))
    shown = README[README.index(readme.BEGIN) : README.index(readme.END) + len(readme.END)]
    assert shown == made, "run: mamlbench-report outputs/reference --readme README.md"


@pytest.mark.parametrize("path", ["README.md", "outputs/reference/README.md"])
def test_links_lead_somewhere(path: str) -> None:
    page = ROOT / path
    found = re.findall(r"\]\(([^)]+)\)", page.read_text())
    links = [link.split("#") for link in found if not link.startswith("https://")]
    assert links
    for file, *anchor in links:
        target = page.parent / file
        assert target.exists(), file
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
            assert anchor[0] in [title.lower().replace(" ", "-") for title in headings]
