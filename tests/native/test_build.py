"""The kernels are compiled once; where they cannot be, torch's operations replace them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import runs

from mamlbench.native import build


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder; earlier builds are forgotten."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build._built.cache_clear()
    yield tmp_path / "mamlbench" / "native"
    build._built.cache_clear()


def compiler_of(folder: Path, script: str) -> str:
    path = folder / "own-c++"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_it_compiles_once(fresh, monkeypatch, tmp_path):
    if shutil.which("c++") is None:
        runs.lacking("there is no c++")
    compiler = compiler_of(tmp_path, f'echo "$@" >> {tmp_path}/calls; exec c++ "$@"')
    monkeypatch.setenv("CXX", compiler)
    for _ in range(2):
        assert build.library() is not None
        assert build.why_not() is None
        build._built.cache_clear()
    (library,) = fresh.iterdir()  # and no unfinished files
    assert library.suffix == ".so"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sum(" -c " in f" {call} " for call in calls) == len(build._SOURCES)


def test_another_processor_has_a_library_of_its_own(monkeypatch, tmp_path):
    keys = set()
    for processor in ("avx2", "avx512f"):
        compiler = compiler_of(tmp_path, f'echo "#define __{processor}__ 1"')
        keys.add(build._key([compiler]))
    keys.add(build._key([compiler]))
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "no C++ compiler"),
        ("echo 'here: error: no such flag' >&2; exit 1", "here: error: no such flag"),
        ("exit 3", "own-c++ failed"),
    ],
)
@pytest.mark.usefixtures("fresh")
def test_why_there_are_none(monkeypatch, tmp_path, script, why):
    missing = str(tmp_path / "nowhere")
    monkeypatch.setenv("CXX", missing if script is None else compiler_of(tmp_path, script))
    assert build.library() is None
    assert why in build.why_not()


@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_is_no_command(monkeypatch):
    monkeypatch.setenv("CXX", "'")
    assert build.why_not() == "CXX=': No closing quotation"
    build._built.cache_clear()
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", "")
    assert build.why_not() == "no C++ compiler c++"


@pytest.mark.usefixtures("fresh")
def test_they_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("MAMLBENCH_NATIVE", "0")
    assert build.library() is None
    assert build.why_not() == "MAMLBENCH_NATIVE=0"


def test_a_cache_folder_that_cannot_be_written(fresh, monkeypatch, tmp_path):
    (tmp_path / "mamlbench").write_text("a file")
    assert build.library() is None
    assert "mamlbench" in build.why_not()


def test_a_run_without_them_says_so_and_works(tmp_path):
    """The same run with and without kernels ends alike, up to rounding."""
    runs.needing_kernels()
    losses = []
    for native in ("1", "0"):
        options = [
            *("dataset=glyphs", "training.iterations=2", "evaluation.tasks=4", "logger=csv"),
            *("hardware.precision=float64", f"outputs={tmp_path / native}"),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "mamlbench", *options],
            env={**os.environ, "MAMLBENCH_NATIVE": native},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert ("no compiled kernels (MAMLBENCH_NATIVE=0)" in done.stderr) is (native == "0")
        (metrics,) = (tmp_path / native).rglob("metrics.csv")
        lines = [line.split(",") for line in metrics.read_text().splitlines()]
        losses.append(float(lines[1][lines[0].index("train/loss")]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
