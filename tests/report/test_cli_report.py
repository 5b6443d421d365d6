"""The command `mamlbench-report` in the test's process: its output and exit codes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import types

import kept
import numpy as np
import pandas as pd
import pytest

from mamlbench.cli.report import main
from mamlbench.report import readme

BETTER = kept.SCORES - np.array([0.1, 0.2, 0.1, 0.2])


@pytest.fixture
def report(capsys, monkeypatch, tmp_path):
    """`report(*arguments)` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.fixture
def outputs(report, tmp_path, sinusoid):
    """Three runs: two seeds of one setting, and a better one."""
    for seed in (0, 1):
        kept.keep(tmp_path / "outputs" / f"a{seed}", sinusoid(), kept.SCORES + seed / 10, seed=seed)
    kept.keep(tmp_path / "outputs" / "b", sinusoid(algorithm__inner_lr=0.02), BETTER)
    return tmp_path / "outputs"


def test_a_folder(report, outputs):
    code, out, err = report("outputs")
    assert (code, err) == (0, "")
    tables = re.findall(r"^(\S.*)\n\n\|", out, flags=re.MULTILINE)
    assert tables[:1] == [
        "MAML, Table 2: sinusoids, 5-shot, MSE by inner steps at meta-test (arXiv 1703.03400)"
    ]
    assert "sinusoid 10shot" in tables
    assert "| maml inner_lr=0.02 |" in out
    assert re.search(r"\| MAML +\| +1 \| +0.67 \|.*0, 1 \(sd 0.071\) \|.*\| +shortened \(", out)
    assert re.search(r"\| maml inner_lr=0.01 \| +\+0.150 ± 0.092 \| +4 \| only 0 in both \|", out)


def test_a_table(report, outputs):
    code, out, _ = report("+table=maml_sinusoid")
    assert code == 0
    assert "0.700 ± 0.305" in out  # the mean of 0.65 and 0.75
    assert "inner_lr" not in out
    assert "not run" in out


def test_a_part_of_a_table(report, outputs):
    code, out, _ = report("+table=maml_sinusoid", "table.rows=[MAML]", "table.seeds=[1]")
    assert code == 0
    found = [line.split("|")[1:6] for line in out.splitlines() if line.startswith("| M")]
    assert [row[0].strip() for row in found] == ["MAML"] * 3
    assert found[0][3].strip().startswith("0.750 ±")  # seed 1 alone
    _, out, _ = report("+table=maml_sinusoid", "table.rows=['Pretrained on all tasks',MAML]")
    assert "| Pretrained on all tasks |" in out
    assert "0.700 ± 0.305" in out
    assert "Oracle" not in out


def test_folders_may_stand_after_options(report, outputs):
    outputs.rename(outputs.with_name("elsewhere"))
    code, out, _ = report("+table=maml_sinusoid", "--format", "markdown", "elsewhere")
    assert code == 0
    assert "0.700 ± 0.305" in out


def test_a_table_without_any_run(report):
    code, out, err = report("+table=maml_sinusoid,maml_omniglot")
    assert (code, err) == (0, "")
    assert out.count("MAML, Table") == 2
    assert out.count("| not run |") == len(re.findall("not run", out)) > 10


def test_a_table_that_there_is_not(report):
    code, out, err = report("+table=maml_sinusoids")
    assert (code, out) == (2, "")
    assert re.fullmatch(
        r"mamlbench-report: table=maml_sinusoids: accepted is .*\(did you mean "
        r"'maml_sinusoid'\?\)\n",
        err,
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["none"], "none: there is no such folder; accepted is one with runs below"),
        (["."], r"\.: no finished run there; accepted is a folder with runs below it, .*"),
        ([], r"accepted is \+table=NAME, a folder, --compare or --status; see --help"),
        (["tabel=x"], r"tabel=x: accepted is \+table=NAME or a folder \(did you mean 'table'\?\)"),
        (["--latex"], "unrecognized arguments: --latex; mamlbench-report --help lists the options"),
        (["--format", "csw"], "argument --format: invalid choice: 'csw' .*terminal.*csv.*; .*"),
        (["--format"], "argument --format: expected one argument; .*"),
        (["+table=all", "--out"], "argument --out: expected one argument; .*"),
        (["--status"], "argument --status: expected one argument; .*"),
        (["--strict=yes"], "argument --strict: ignored explicit argument 'yes'; .*"),
        (["--compare", "a"], "argument --compare: expected 2 arguments; .*"),
        (["--compare", "a", "b", "c"], "c: accepted with --compare are .*"),
        (["--status", "a", "b"], "b: accepted with --status is one folder"),
        (["--status", "a", "--out", "x"], "--out x: accepted with --status is no other option"),
        (["--status", "a", "--strict"], "--strict: accepted with --status is no other option"),
        (
            ["--status", "a", "--compare", "b", "c"],
            "--compare b c: accepted with --status is no other option",
        ),
        (["--figure-s=x"], "unrecognized arguments: --figure-s=x; .*"),
        (
            ["--f", "x"],
            "ambiguous option: --f could match --format, --figures; mamlbench-report .*",
        ),
        (["table.rows=[MAML]"], r"table\.rows=\[MAML\]: accepted with it is one \+table=NAME"),
        (
            ["+table=maml_sinusoid", "table.seeds=[a]"],
            r"table\.seeds=\[a\]: accepted is a list, .*",
        ),
        (
            ["+table=maml_sinusoid", "table.rows=[MAM]"],
            r"table\.rows=MAM: accepted is .* \(did you mean 'MAML'\?\)",
        ),
        (["--status", "none"], "none: there is no such folder; accepted is one with runs below"),
        (["--compare", "a", "b"], "a: not the folder of a finished run: there is no summary.json"),
    ],
)
def test_mistakes_are_one_line(report, arguments, line):
    code, out, err = report(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"mamlbench-report: {line}\n", err)


@pytest.mark.parametrize("option", ["--html", "--figures", "--readme"])
def test_what_is_not_made_of_two_runs(report, outputs, option):
    code, out, err = report("--compare", "outputs/a0", "outputs/b", option, "x")
    assert (code, out) == (2, "")
    accepted = "accepted with --compare are --format, --out and --strict"
    assert err == f"mamlbench-report: {option} x: {accepted}\n"
    assert not (outputs.parent / "x").exists()


def test_what_cannot_be_read_is_named(report, outputs):
    (outputs / "b" / "summary.json").write_text('{"test": ')
    code, out, err = report("outputs")
    assert code == 0
    why = "summary.json is half-written or damaged"
    assert err == f"mamlbench-report: skipped outputs/b: {why}\n"
    assert "inner_lr=0.02" not in out


def test_strict_refuses_different_protocols_in_one_table(report, outputs, sinusoid):
    assert report("outputs", "--strict")[0] == 0
    kept.keep(outputs / "c", sinusoid(evaluation__queries=3, algorithm__inner_lr=0.5))
    code, out, err = report("outputs", "--strict")
    assert (code, out) == (2, "")
    assert re.fullmatch(
        r"mamlbench-report: sinusoid 10shot: results of 2 protocols in one table; accepted with "
        r"--strict is one: .*\n",
        err,
    )
    assert "[1] protocol: maml: 4 tasks, " in report("outputs")[1]


def test_two_runs_compared(report, outputs):
    code, out, _ = report("--compare", "outputs/a0", "outputs/b")
    assert code == 0
    assert re.search(r"\| algorithm.inner_lr \| 0.01 \| 0.02 \|", out)
    assert "−0.150 ± 0.092" in out


def test_two_runs_in_other_formats(report, outputs):
    two = ("--compare", "outputs/a0", "outputs/b")
    _, out, _ = report(*two, "--format", "markdown")
    assert out.startswith("### What differs in the configs\n\n| option ")
    _, out, _ = report(*two, "--format", "latex")
    assert re.search(r"\nalgorithm.inner\\_lr & 0.01 & 0.02 \\\\\n", out)
    assert report(*two, "--format", "csv", "--out", "two.csv")[2] == "written: two.csv\n"
    rows = pd.read_csv(outputs.parent / "two.csv").set_index("name")
    assert rows.kind.to_dict() == {"folder": "run", "algorithm.inner_lr": "option", "mse": "metric"}
    assert rows.loc["folder", ["a", "b"]].to_list() == ["outputs/a0", "outputs/b"]
    assert rows.loc["algorithm.inner_lr", ["a", "b"]].to_list() == ["0.01", "0.02"]
    assert rows.loc["mse", ["a", "b", "tasks"]].astype(float).to_list() == [0.4, 0.25, 4]
    # -0.1, -0.2, -0.1, -0.2: standard deviation 0.057735, t for 3 degrees of freedom 3.18245
    apart = rows.loc["mse", ["difference", "difference_ci95"]].to_list()
    assert apart == pytest.approx([-0.15, 3.18245 * 0.057735 / 2], rel=1e-4)


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv"])
def test_a_run_beside_itself(report, outputs, form):
    code, out, err = report("--compare", "outputs/b", "outputs/b", "--format", form)
    assert (code, err) == (0, "")
    assert ("0.250" in out) == (form != "csv")


def test_markdown_and_latex(report, outputs):
    made = report("+table=maml_sinusoid", "--format", "markdown", "--out", "t.md")
    assert made == (0, "", "written: t.md\n")
    text = (outputs.parent / "t.md").read_text()
    assert text.startswith("### MAML, Table 2")
    _, out, _ = report("+table=maml_sinusoid", "--format", "latex")
    assert out.startswith("% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n\\caption{")
    assert re.search(
        r"\nMAML & 1 & 0.67 & 0.700 \$\\pm\$ 0.305.* & \+0.030 & 0, 1 \(sd 0.071\)", out
    )
    for rule in ("top", "mid", "bottom"):
        assert out.count(f"\\{rule}rule") == 1
    assert "95\\% over tasks" in out


def test_csv_has_the_numbers_unrounded(report, outputs):
    _, out, _ = report("outputs", "--format", "csv")
    rows = pd.read_csv(io.StringIO(out), dtype={"column": str})
    (first,) = rows[(rows["table"] == "maml_sinusoid") & (rows["column"] == "1")].itertuples()
    assert (first.published, first.ours) == (0.67, pytest.approx(0.70))
    assert first.difference == pytest.approx(0.03)
    assert first.seed_sd == pytest.approx(0.1 / np.sqrt(2))
    assert (first.seeds, first.verdict, first.iterations_asked) == ("0 1", "shortened", 70000)
    (best,) = rows[rows["row"] == "maml inner_lr=0.02"].itertuples()
    assert best.ours == pytest.approx(0.25)
    assert best.folders == "outputs/b"


def test_seeds_that_stopped_apart(report, tmp_path, sinusoid):
    for seed, done in enumerate((16_000, 10_000)):
        train = {"iterations": done, "seconds": 1.0}
        config = sinusoid(training__patience=3)
        kept.keep(tmp_path / "outputs" / str(seed), config, seed=seed, train=train)
    _, out, _ = report("outputs")
    assert re.search(r"\| 0, 1 \(sd 0.000\) \| 10,000–16,000 of 70,000 \|", out)
    assert re.search(r"\| 0, 1 \(sd 0.000\) \| 10,000–16,000 \|", out)
    rows = pd.read_csv(io.StringIO(report("outputs", "--format", "csv")[1]))
    assert set(rows.iterations) == {"16000 10000"}
    assert set(rows.seeds) == {"0 1"}
    report("outputs", "--html", "page.html")
    text = (tmp_path / "page.html").read_text()
    assert 'data-sort="10000.0"><span class="v">10,000–16,000</span>' in text


def test_figures(report, outputs):
    code, out, err = report("outputs", "--figures", "drawn")
    assert (code, out) == (0, "")
    names = sorted(path.name for path in (outputs.parent / "drawn").iterdir())
    assert "maml_sinusoid_steps.png" in names
    assert "sinusoid_10shot_mse_learning.png" in names
    assert "sinusoid_10shot_mse_by_step.png" in names
    assert err.count("figure: drawn/") == len(names)


def test_a_page_and_a_table_to_be_piped(report, outputs):
    code, out, err = report("+table=maml_sinusoid", "--html", "page.html", "--format", "latex")
    assert (code, err) == (0, "page: page.html\n")
    assert out.startswith("% needs ")


def test_the_marked_part_of_a_readme(report, outputs):
    path = outputs.parent / "README.md"
    path.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    assert report("outputs", "--readme", "README.md") == (0, "", "rewritten: README.md\n")
    text = path.read_text()
    told = r"before\n.*\n\n(\d+) of \d+ published numbers are measured: ([^.]*)\. .*\n\n\| table or"
    found = re.match(told, text)
    assert found is not None
    counts = [int(count) for count in re.findall(r"\d+", found[2])]
    each = text.split("<summary>Each measured number</summary>")[1]
    assert sum(counts) == int(found[1]) == len(re.findall(r"\n\| \[MAML, ", each))
    assert text.endswith(f"\n\n</details>\n\n{readme.END}\nafter\n")
    assert "old" not in text
    assert re.search(
        r"\n\| \[MAML, Table 2: .*\]\(https://arxiv.org/abs/1703.03400\) \| MAML \| 1 \|", text
    )
    assert "Figures 3 and 6" not in text  # they have no printed numbers
    assert "| `mamlbench experiment=maml/sinusoid` |" in text
    assert report("outputs", "--readme", "README.md")[0] == 0
    assert path.read_text() == text


def test_a_command_that_no_shell_would_take_is_shown_as_it_is(report, outputs):
    path = outputs / "b" / "summary.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps({**summary, "command": "mamlbench name='mine"}))
    (outputs.parent / "README.md").write_text(f"{readme.BEGIN}\n{readme.END}\n")
    assert report("outputs", "--readme", "README.md")[:2] == (0, "")
    assert "\n| `mamlbench name='mine` | mse 0.250" in (outputs.parent / "README.md").read_text()


def test_a_readme_of_a_part_is_refused(report, outputs):
    """The README would lose the results of all other tables."""
    text = f"{readme.BEGIN}\n{readme.END}\n"
    (outputs.parent / "README.md").write_text(text)
    code, _, err = report("+table=maml_sinusoid", "outputs", "--readme", "README.md")
    assert code == 2
    accepted = "accepted with it is a folder or +table=all; with fewer tables, "
    assert err.startswith(f"mamlbench-report: --readme README.md: {accepted}")
    assert (outputs.parent / "README.md").read_text() == text
    assert report("+table=all", "outputs", "--readme", "README.md")[0] == 0


def test_a_readme_without_a_marked_part(report, outputs):
    (outputs.parent / "README.md").write_text("nothing\n")
    code, _, err = report("outputs", "--readme", "README.md")
    assert code == 2
    assert err.startswith("mamlbench-report: --readme README.md: accepted is a file with the lines")
    (outputs.parent / "other.md").write_bytes(b"\xff\xfe")
    code, _, err = report("outputs", "--readme", "other.md")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("mamlbench-report: --readme other.md: cannot be read: 'utf-8' codec")
    assert (outputs.parent / "README.md").read_text() == "nothing\n"


def test_the_status_of_runs_is_shown(report, monkeypatch):
    module = types.ModuleType("mamlbench.report.status")
    module.show = lambda outputs: f"all of {outputs}"
    monkeypatch.setitem(sys.modules, "mamlbench.report.status", module)
    assert report("--status", "outputs/default") == (0, "all of outputs/default\n", "")


def test_the_command_does_not_wait_for_torch(outputs):
    """Importing torch takes seconds, and a report does not need it."""
    program = (
        "import sys; from mamlbench.cli.report import main; main(sys.argv[1:]); "
        "print([name for name in ('torch', 'matplotlib', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "+table=maml_sinusoid", str(outputs)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
