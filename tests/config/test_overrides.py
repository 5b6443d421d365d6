"""Command-line overrides."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from mamlbench.cli.command_line import options_of_each_job
from mamlbench.config.overrides import (
    command_line,
    config_flags,
    list_of,
    quoted,
    require_one_run,
    why_unreadable,
)
from mamlbench.errors import UserError

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


UNREADABLE = {
    "seed = 3": "accepted is seed=3, without spaces around =",
    " seed=3 ": "accepted is seed=3, without spaces before or after",
    "seed==3": "accepted is seed=3, with one =",
    "seed": "accepted is key=value",
    "seed+=3": "seed+ is not a valid key; accepted is key=value",
    "name=a;b": """text with special characters needs quotes; accepted is "name='a;b'\"""",
    "name = a;b": """accepted is "name='a;b'", without spaces around =""",
    "name=it's": 'the quote \' is not closed; accepted as text is "name=\\"it\'s\\""',
    "name=[a": """[ has no ]; accepted as text is "name='[a'\"""",
    "name=a]": """there is one ] too many; accepted as text is "name='a]'\"""",
    "name=[a=b]": (
        """text with special characters needs quotes; accepted is "name=['text','text']\""""
    ),
    "seed=0,,1": "there is no value beside a comma; accepted is seed=0,1",
}


@pytest.mark.parametrize(("override", "why"), UNREADABLE.items(), ids=UNREADABLE)
def test_what_hydra_cannot_read(override: str, why: str) -> None:
    with pytest.raises(HydraException):
        OverridesParser.create().parse_override(override)
    assert why_unreadable(override) == why


@pytest.mark.parametrize("text", ["a=b", "it's", '"x', "${a", "a\"b'c=", "x!y;", "it's $5"])
def test_the_quotes_that_are_advised_work_in_a_shell(text: str) -> None:
    advised = re.sub(r".*; accepted (as text )?is ", "", why_unreadable(f"name={text}"))
    line = f"printf %s {advised}"
    said = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert OverridesParser.create().parse_override(said.stdout).value() == text


@pytest.mark.parametrize(
    "text", ["plain", "it's", "a\\", "a\\'b", "\\\\'", "x='it\\'s'", "C:\\new\\", "", "'"]
)
def test_text_in_quotes_is_read_as_it_was(text: str) -> None:
    read = OverridesParser.create().parse_override(f"key={quoted(text)}").value()
    assert read == text
    twice = OverridesParser.create().parse_override(f"key={quoted([f'x={quoted(text)}'])}")
    assert twice.value() == [f"x={quoted(text)}"]


def test_options_beside_a_sweep_over_a_group_are_each_jobs_own() -> None:
    typed = [
        "-m",
        "algorithm=maml,fomaml",
        "training.patience=null",
        "dataset.shots=[1,2]",
        "seed=1",
    ]
    assert options_of_each_job(typed) == [
        *typed[:2],
        "training.patience=null",
        "dataset.shots=choice([1,2])",
        "seed=1",
    ]


def test_lists() -> None:
    assert list_of("table.rows=[MAML,'a, b',3]", str) == ["MAML", "a, b", "3"]
    assert list_of("table.seeds=[0,1]", int) == [0, 1]
    assert list_of("table.seeds=2", int) == [2]
    for override in ("table.rows=A,B", "table.rows=[[A]]", "table.rows=[A"):
        with pytest.raises(UserError) as caught:
            list_of(override, str)
        assert str(caught.value) == f"{override}: accepted is a list, [name, ...]"
    for override in ("table.seeds=[a]", "table.seeds=[]", "table.seeds=[0", "table.seeds=[true]"):
        with pytest.raises(UserError) as caught:
            list_of(override, int)
        assert str(caught.value) == f"{override}: accepted is a list, [whole number, ...]"


def test_a_sweep_that_is_written_down_is_no_single_run() -> None:
    params = {"algorithm": "maml,fomaml", "seed": "0,1", "dataset.shots": 5}
    with pytest.raises(UserError) as caught:
        require_one_run(params, ["experiment=my_sweep", "algorithm=maml"])
    assert str(caught.value) == (
        "experiment=my_sweep: is a sweep, which needs -m; "
        "accepted without it is seed=... dataset.shots=..."
    )
    with pytest.raises(UserError, match=r"^hydra\.sweeper\.params: is a sweep, which needs -m; "):
        require_one_run(params, [])
    require_one_run(params, ["+algorithm=maml", "seed=0", "dataset.shots=1"])
    require_one_run(params, ["experiment=my_sweep", "checkpoint='outputs/x'"])
    require_one_run(None, [])


def test_a_command_says_where_its_config_files_are() -> None:
    folders = ["file:///home/me/my conf", "pkg://lab.conf"]
    assert (
        command_line(["seed=1"], folders[:1]) == "mamlbench '--config-dir=/home/me/my conf' seed=1"
    )
    found = command_line(["seed=1"], folders)
    assert found.endswith(""" "hydra.searchpath=['pkg://lab.conf']" seed=1""")
    assert config_flags(folders[1:]) == ["hydra.searchpath=['pkg://lab.conf']"]
    assert command_line(["seed=1"]) == "mamlbench seed=1"
