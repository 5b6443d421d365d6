"""`mamlbench-report --config-dir`: a user's own tables, composed with that folder's configs."""

import re
import sys

import kept
import pytest

from mamlbench.cli.report import main
from mamlbench.compose import config
from mamlbench.config.build import plain
from mamlbench.config.tree import ConfigTree, without_hydra
from mamlbench.report import readme
from mamlbench.tables import TableRun, load_table, load_tables

TABLE = """# @package table
title: My table
paper: mine
place: Table 1
metric: mse
rows: [Own, Known]
columns: ["1"]
cells:
  - {row: Own, column: "1", step: 1, published: 0.67, experiment: my_own}
  - {row: Known, column: "1", step: 1, published: 0.66, experiment: maml/sinusoid}
"""
EXPERIMENT = """# @package _global_
defaults:
  - override /algorithm: maml
  - override /dataset: sinusoid
algorithm:
  inner_lr: 0.37
evaluation:
  tasks: 4
"""


@pytest.fixture
def report(capsys, monkeypatch, tmp_path):
    """`report(*arguments)` in a folder with `my_conf` and a run of its row Own in `outputs`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, text in (("table/mine", TABLE), ("experiment/my_own", EXPERIMENT)):
        path = tmp_path / "my_conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    composed = config(["experiment=my_own"], [f"file://{tmp_path}/my_conf"])
    kept.keep(tmp_path / "outputs" / "a", plain(without_hydra(composed)))

    def command(*arguments):
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.mark.parametrize("flags", [["--config-dir=my_conf"], ["--config-dir", "my_conf"]])
def test_a_table_of_ones_own(report, flags):
    code, out, err = report(*flags, "+table=mine")
    assert (code, err) == (0, "")
    assert re.search(r"^My table \(mine\)\n", out, flags=re.MULTILINE)
    assert re.search(r"\| Own +\| +1 \| +0.67 \| +0.650 ± 0.305 \|.* within \(our interval\) ", out)
    assert re.search(r"\| Known +\| +1 \| +0.66 \|.*\| +not run +\|", out)


def test_a_cell_whose_algorithm_is_ones_own(report, tmp_path):
    """The cell is one of mamlbench's experiments with it and a command-line value."""
    overrides = ["algorithm=mine", "algorithm.inner_lr=3e-3"]
    folder, own = tmp_path / "my_conf", "defaults: [maml, _self_]\n_target_: my_lab.Mine\n"
    (folder / "algorithm").mkdir()
    (folder / "algorithm" / "mine.yaml").write_text(own)
    cell = f"experiment: maml/sinusoid, overrides: [{', '.join(overrides)}]"
    table = TABLE.replace("experiment: my_own", cell)
    (folder / "table" / "mine.yaml").write_text(table)
    composed = config(["experiment=maml/sinusoid", *overrides], [f"file://{folder}"])
    kept.keep(tmp_path / "outputs" / "b", plain(without_hydra(composed)))
    _, out, _ = report("--config-dir=my_conf", "+table=mine")
    assert re.search(r"\| Own +\| +1 \| +0.67 \| +0.650 ± 0.305 \|", out)


def test_it_is_among_all_and_beside_the_runs_of_a_folder(report):
    _, out, _ = report("--config-dir=my_conf", "+table=all", "--format", "markdown")
    titles = re.findall(r"^### (.*)$", out, flags=re.MULTILINE)
    assert titles[0] == "My table (mine)"  # tables with results come first
    assert len(titles) == len(ConfigTree().choices("table")) + 1
    _, out, _ = report("--config-dir=my_conf", "outputs")
    assert re.findall(r"^(\S.*)\n\n\|", out, flags=re.MULTILINE)[0] == "My table (mine)"
    assert "My table" not in report("outputs")[1]


def test_a_page_and_a_readme_have_it_too(report, tmp_path):
    (tmp_path / "README.md").write_text(f"{readme.BEGIN}\n{readme.END}\n")
    files = ("--html", "page.html", "--readme", "README.md")
    assert report("--config-dir=my_conf", "outputs", *files)[0] == 0
    assert "My table" in (tmp_path / "page.html").read_text()
    text = (tmp_path / "README.md").read_text()
    assert re.search(r"\n1 of \d+ published numbers are measured: 1 within\.", text)
    assert re.search(r"\n\| My table \| `mine` \| 1 \| 1 \|\n", text)


def test_a_folder_without_tables_adds_none(report):
    assert report("--config-dir=outputs", "outputs") == report("outputs")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--config-dir=none", "outputs"],
            "--config-dir none: there is no such folder; accepted is one with table/NAME.yaml .*",
        ),
        (["--config-dir", "none", "+table=all"], "--config-dir none: there is no such folder; .*"),
        (["+table=mine", "--config-dir"], "argument --config-dir: expected one argument; .*"),
        (["--config-dir=my_conf", "+table=min"], r"table=min: .*\(did you mean 'mine'\?\)"),
        (["+table=mine"], r"table=mine: accepted is (?!.*\bmine\b).*"),
        (
            ["--status", "outputs", "--config-dir", "my_conf"],
            "--config-dir my_conf: accepted with --status is no other option",
        ),
        (
            ["--compare", "outputs/a", "outputs/a", "--config-dir", "my_conf"],
            "--config-dir my_conf: accepted with --compare are .*",
        ),
        (["--config-dri=x"], "unrecognized arguments: --config-dri=x; .*"),
    ],
)
def test_mistakes_are_one_line(report, arguments, line):
    code, out, err = report(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"mamlbench-report: {line}\n", err)


def test_a_cell_that_cannot_be_composed_is_named(report, tmp_path):
    (tmp_path / "my_conf" / "experiment" / "my_own.yaml").unlink()
    code, _, err = report("--config-dir=my_conf", "+table=mine")
    assert code == 2
    assert re.fullmatch(r"mamlbench-report: a table's cell, experiment=my_own: .*my_own.*\n", err)


def test_defaults_of_ones_own_class_are_known(report, tmp_path):
    """An option that a run lacks because it is newer counts as its class's default."""
    (tmp_path / "my_report_lab.py").write_text(
        "class Mine:\n    def __init__(self, inner_lr=0.37, newer=3): ...\n"
    )
    text = EXPERIMENT.replace("maml", "mine").replace("inner_lr: 0.37", "newer: 3")
    (tmp_path / "my_conf" / "experiment" / "my_own.yaml").write_text(text)
    (tmp_path / "my_conf" / "algorithm").mkdir()
    (tmp_path / "my_conf" / "algorithm" / "mine.yaml").write_text(
        "defaults: [maml, _self_]\n_target_: my_report_lab.Mine\nnewer: 3\n"
    )
    composed = config(["experiment=my_own"], [f"file://{tmp_path}/my_conf"])
    older = plain(without_hydra(composed))
    del older["algorithm"]["newer"]
    kept.keep(tmp_path / "outputs" / "older", older)
    try:
        _, out, _ = report("--config-dir=my_conf", "+table=mine")
    finally:
        sys.modules.pop("my_report_lab", None)
    assert re.search(r"\| Own +\| +1 \| +0.67 \| +0.650 ± 0.305 \|", out)


def test_tables_of_ones_own_are_composed_with_their_folder(report, tmp_path):
    tree = ConfigTree(["--config-dir=my_conf"])
    first, second = load_table("mine", tree).runs()
    assert first == TableRun("my_own", config_dir=tmp_path / "my_conf")
    assert second.trained.config_dir == tmp_path / "my_conf"
    assert load_table("maml_sinusoid", tree) == load_table("maml_sinusoid")
    (mine,) = set(load_tables(tree)) - set(load_tables())
    assert mine.name == "mine"
