"""--help documents every option with a comment from the config tree."""

import re

import pytest

from mamlbench.cli import help as help_
from mamlbench.config.tree import ConfigTree, option_comments

TREE = ConfigTree()
GROUPS = [group for group in TREE.groups() if group.split("/")[0] != "preset"]
# experiments repeat options of other groups, whose comments are in those groups
FILES = [f"{g}/{c}" for g in GROUPS for c in TREE.choices(g) if g not in ("experiment", "table")]


def section(text: str, title: str) -> list[str]:
    """The lines below a title, up to the next empty line."""
    lines = text.splitlines()
    start = lines.index(title) + 1
    end = next((i for i in range(start, len(lines)) if not lines[i]), len(lines))
    return lines[start:end]


def test_groups_are_the_folders():
    assert {"algorithm", "dataset", "network", "evaluation", "hardware", "logger"} <= set(GROUPS)
    assert TREE.choices("experiment").count("maml/sinusoid") == 1
    assert "network/maml_sinusoid_mlp" not in TREE.choices("preset")
    assert "maml_sinusoid_mlp" in TREE.choices("preset/network")


@pytest.mark.parametrize("file", ["config", *FILES])
def test_every_option_has_a_comment(file):
    comments = TREE.comments(file)
    assert [key for key, comment in comments.items() if not comment] == []


@pytest.mark.parametrize("file", FILES)
def test_every_choice_is_described(file):
    group, choice = file.split("/", 1)
    assert TREE.description(group, choice)


@pytest.mark.parametrize("group", ["algorithm", "dataset", "network", "hardware", "logger"])
def test_a_choice_takes_one_line_of_a_hundred_columns(monkeypatch, group):
    monkeypatch.setenv("COLUMNS", "100")
    listed = section(help_.text([]), group)
    assert [line.lstrip(" *").split()[0] for line in listed] == TREE.choices(group)


def test_presets_are_not_listed():
    assert not [line for line in help_.text([]).splitlines() if line.startswith("preset")]


def test_option_comments():
    text = (
        "# a file\ndefaults:\n  - _self_\n_target_: a.B\nrate: 0.1 # step\n"
        "name: 'a#b'   # a hash within\nnode:\n  inner: [1, 2]\n  color: '#fff'\nlast: x # y\n"
    )
    assert option_comments(text) == {
        "rate": "step",
        "name": "a hash within",
        "node.inner": "",
        "node.color": "",
        "last": "y",
    }


def test_a_choice_has_the_comments_of_the_one_that_it_builds_on():
    own, base = TREE.comments("hardware/slurm_nodes"), TREE.comments("hardware/slurm_gpu")
    assert own["time"] == base["time"] != ""
    assert "a100:4" in own["gpus"]


def test_values_are_those_of_the_command_line():
    text = help_.text(["algorithm=reptile", "dataset=omniglot", "seed=7", "--help"])
    options = section(text, "algorithm=reptile")
    assert re.match(r"  algorithm\.inner_lr=0\.001 +step size of the inner loop$", options[0])
    assert any(re.match(r"  seed=7  +of the initial", line) for line in section(text, "top level"))
    assert any("dataset.split=reptile" in line for line in section(text, "dataset=omniglot"))
    assert any("network.filters=64" in line for line in section(text, "network=conv4"))
    assert any(line.startswith("  * reptile  ") for line in section(text, "algorithm"))
    assert any(line.startswith("  * omniglot  ") for line in section(text, "dataset"))


def test_several_choices_are_shown_as_they_are_typed():
    (title,) = [line for line in help_.text([]).splitlines() if line.startswith("logger=")]
    assert title == "logger=[csv,wandb]"
    assert title in help_.text([title, "seed=3"])
    assert help_.text(["logger=csv"]).splitlines()[-1] == "logger=csv"


def test_every_option_is_listed():
    text = help_.text([])
    for file in ("algorithm/maml", "dataset/sinusoid", "network/mlp", "hardware/cpu"):
        for key in TREE.comments(file):
            assert f"\n  {file.split('/')[0]}.{key}=" in text
    for key in TREE.comments("config"):
        assert f"\n  {key}=" in text


def test_of_a_sweep_the_first_job():
    text = help_.text(["-m", "algorithm=reptile,maml", "-h"])
    assert "\nalgorithm=reptile\n" in text


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_fits_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = help_.text([]).split("\n\n", 3)[3].splitlines()
    assert max(map(len, rows)) <= max(columns, 74)
    assert max(map(len, rows)) <= 120


def test_is_printed(mamlbench):
    result = mamlbench("--help")
    assert result.code == 0
    assert result.err == ""
    for word in ("--cfg job", "--multirun", "-sc install=bash", "--hydra-help", "--config-dir"):
        assert word in result.out


def test_a_mistake_is_one_line(mamlbench):
    result = mamlbench("algorithm=mmal", "--help")
    assert result.code == 2
    assert result.complaint.startswith("algorithm=mmal: accepted is ")


def test_a_folder_of_ones_own(mamlbench, tmp_path):
    own = tmp_path / "conf" / "algorithm" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# My idea. More of it.\n_target_: my_lab.Mine\nstrength: 3 # how much\n")
    result = mamlbench("algorithm=mine", "--config-dir", str(tmp_path / "conf"), "--help")
    assert result.code == 0
    assert "  * mine              My idea." in section(result.out, "algorithm")
    assert section(result.out, "algorithm=mine") == ["  algorithm.strength=3  how much"]


def test_version(mamlbench):
    from mamlbench import __version__

    assert mamlbench("--version").out == f"mamlbench {__version__}\n"
