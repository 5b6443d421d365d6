"""Overrides on a command line."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from mamlbench.overrides import command_line, quoted

OVERRIDES = [
    "algorithm=maml",
    "network.hidden=[40,40]",
    f"checkpoint={quoted('outputs/a b/seed0')}",
    "also_test=[['evaluation.shots=10'],['evaluation.shots=20']]",
    'also_test=[["evaluation.transductive=true"]]',
    "name='it\\'s $HOME'",
]


def test_a_command_line_is_plain_where_it_can_be() -> None:
    assert command_line(OVERRIDES[:1]) == "mamlbench algorithm=maml"
    assert command_line(OVERRIDES[3:4]) == f'mamlbench "{OVERRIDES[3]}"'


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_shell_gives_each_override_as_it_was(override: str) -> None:
    _, word = shlex.split(command_line([override]))
    assert word == override
    text = command_line([override]).replace("mamlbench", "printf %s", 1)
    said = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert said.stdout == override
