"""Installation: the wheel contains the config tree, and the command works from there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml

import mamlbench

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy because setuptools builds within the sources."""
    pytest.importorskip("setuptools", minversion="77", reason="pyproject.toml needs setuptools 77")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("mamlbench", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    build = f"import setuptools.build_meta as b; print(b.build_wheel({str(target)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    [path] = target.glob("mamlbench-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """`installed(*arguments)`: the output of mamlbench from the wheel, without a checkout."""
    folder, elsewhere = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    # as pip creates it; shell completion needs its name
    script = folder / "bin" / "mamlbench"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom mamlbench.cli.main import main\n\nmain()\n")

    def run(*arguments: str, program: str = str(script), code: int = 0, **variables: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "100", **variables}
        done = subprocess.run(
            [sys.executable, program, *arguments],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == code, done.stderr
        assert list(elsewhere.iterdir()) == []
        return done.stdout + done.stderr

    report = "import mamlbench, mamlbench.conf as c; print(mamlbench.__file__, *c.__path__)"
    places = run(report, program="-c").split()
    assert places == [str(folder / "mamlbench/__init__.py"), str(folder / "mamlbench/conf")]
    return run


def test_the_wheel_holds_all_and_only_what_it_should(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mamlbench").rglob("*.py")}
    assert {f"mamlbench/{name}" for name in configs} <= names
    assert modules <= names
    templates = {path.name for path in (ROOT / "mamlbench/report/templates").iterdir()}
    assert {f"mamlbench/report/templates/{name}" for name in templates} <= names
    native = {path.name for path in (ROOT / "mamlbench/native").glob("*.[ch]pp")}
    assert {Path(name).suffix for name in native} == {".cpp", ".hpp"}
    assert {f"mamlbench/native/{name}" for name in native} <= names
    assert "mamlbench/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mamlbench"}


def test_the_wheel_says_whose_it_is_and_what_it_is_for(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        said = BytesParser().parsebytes(archive.read(name))
    assert said["Author"] == "mamlbench's authors"
    assert "meta-learning" in said["Keywords"].split(",")
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(said.get_all("Classifier")))
    assert versions == ["3.10", "3.11", "3.12", "3.13"]


def test_what_is_cited_is_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == mamlbench.__version__
    assert cited["authors"] == [{"name": "mamlbench's authors"}]


def test_extras_are_installed_from_the_checkout():
    """No index has mamlbench; and each extra that is mentioned exists."""
    files = [*(ROOT / "mamlbench").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]
    text = "\n".join(file.read_text() for file in files)
    assert "mamlbench[" not in text
    named = set(re.findall(r"pip install (.*?)`", text))
    extras = metadata("mamlbench").get_all("Provides-Extra")
    assert {"-e '.[rl]'", "-e '.[tune]'"} <= named <= {f"-e '.[{extra}]'" for extra in extras}


def test_help(installed):
    printed = installed("--help")
    assert "  * maml " in printed
    assert "  training.iterations=4000 " in printed


def test_composed_config(installed):
    printed = installed("algorithm=reptile", "dataset=omniglot", "--cfg", "job")
    assert "  split: reptile\n" in printed
    assert "  inner_optimizer: adam\n" in printed


@pytest.mark.parametrize(
    "arguments", [["algorithm=mmal"], ["-m", "outputs=/proc/none", "seed=0,1"], ["--bogus"]]
)
def test_a_mistake_is_one_line_and_exit_code_2(installed, arguments):
    printed = installed(*arguments, code=2)
    assert printed.startswith("mamlbench: ")
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("algorithm=", {"algorithm=maml", "algorithm=reptile"}),
        ("training.it", {"training.iterations="}),
        ("algorithm=reptile algorithm.mo", {"algorithm.moments="}),
    ],
)
def test_shell_completion(installed, typed, offered):
    line = f"mamlbench {typed}"
    point = str(len(line))
    printed = installed("-sc", "query=bash", COMP_LINE=line, COMP_POINT=point)
    assert offered <= set(printed.split())


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_shell_completion_installs(installed, shell):
    printed = installed("-sc", f"install={shell}")
    assert re.search(
        r"^complete .*mamlbench$|complete -o .* mamlbench$|-c mamlbench ", printed, re.M
    )


def test_help_does_not_wait_for_torch(installed):
    """Importing torch takes seconds, and people wait for help, completion and error messages."""
    slow = ("torch", "pandas", "scipy", "matplotlib", "wandb")
    report = (
        "import sys; from mamlbench.cli.main import main; "
        "sys.argv = ['mamlbench', '--help']; main(); "
        f"print([name for name in {slow} if name in sys.modules])"
    )
    assert installed(report, program="-c").splitlines()[-1] == "[]"
