"""Rates of environments, ours compared with gymnasium's."""

from __future__ import annotations

import re

import pytest

from mamlbench.benchmark.environments import main
from mamlbench.rl.environments import LOCOMOTION


def test_each_environment_has_a_rate(tmp_path, capsys, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)  # MuJoCo logs here what is outdated in gymnasium's bodies
    assert main(["", "--episodes=2", "--steps=3", "--repeats=1", "--threads=1"]) == 0
    rates = dict(re.findall(r"\| (.+) \| ([\d,]+) \|\n", capsys.readouterr().out))
    bodies = ("HalfCheetah", "Ant")
    assert list(rates) == [
        "navigation2d, in torch",
        *(f"{name}, MuJoCo's threads" for name in LOCOMOTION),
        *(
            f"gymnasium's {b}-v5, {how}"
            for b in bodies
            for how in ("one by one", "worker processes")
        ),
    ]
    assert all(int(rate.replace(",", "")) > 0 for rate in rates.values())


def test_no_episode(capsys):
    assert main(["", "--episodes=0"]) == 2
    told = "environment_speed.py: --episodes 0: accepted is 1 or more; "
    assert capsys.readouterr().err.startswith(told)
