"""Every way to misspell a command line: the key, what was found, what is accepted."""

import errno
from pathlib import Path

import pytest
from hydra.errors import HydraException

from mamlbench.config.hydra_errors import one_line

MISTAKES = {
    "an unknown choice": (
        ["algorithm=mmal"],
        r"algorithm=mmal: accepted is .*fomaml, joint, .*maml.*\(did you mean 'maml'\?\)",
    ),
    "an unknown choice in a sweep": (
        ["-m", "algorithm=maml,reptil"],
        r"algorithm=reptil: accepted is .* \(did you mean 'reptile'\?\)",
    ),
    "an unknown choice of a group that another brings": (
        ["network=conv5"],
        r"network=conv5: accepted is conv4, .*mlp.* \(did you mean 'conv4'\?\)",
    ),
    "an unknown evaluation": (
        ["evaluation=std"],
        r"evaluation=std: accepted is .*standard.*\(did you mean 'standard'\?\).*",
    ),
    "an unknown choice in a list": (
        ["logger=[csv,tensorbord]"],
        r"logger=tensorbord: accepted is csv, tensorboard, wandb \(did you mean 'tensorboard'\?\)",
    ),
    "an unknown experiment": (
        ["experiment=mml/sinusoid"],
        r"experiment=mml/sinusoid: accepted is .*maml/sinusoid.*\(did you mean 'maml/sinusoid'\?\)",
    ),
    "an unknown experiment with a plus": (
        ["+experiment=nope"],
        r"experiment=nope: accepted is .*maml/sinusoid.*",
    ),
    "no choice": (["algorithm=null"], r"algorithm=null: accepted is .*fomaml, joint, .*"),
    "a group taken away": (
        ["~algorithm"],
        r"~algorithm: a run needs one; accepted is algorithm=.*fomaml, .*",
    ),
    "an unknown group": (
        ["algoritm=maml"],
        r"algoritm=maml: there is no option or group algoritm; accepted: algorithm, .*"
        r"seed, .*training.*\(did you mean 'algorithm'\?\)",
    ),
    "an unknown option": (
        ["algorithm.iner_lr=1"],
        r"algorithm\.iner_lr=1: algorithm has no option iner_lr; accepted: adapt_norm, .*"
        r"\(did you mean 'inner_lr'\?\)",
    ),
    "an option of another choice": (
        ["algorithm=reptile", "algorithm.first_order=true"],
        r"algorithm\.first_order=true: algorithm has no option first_order; accepted: .*moments.*",
    ),
    "an unknown node": (
        ["trainin.iterations=3"],
        r"trainin\.iterations=3: there is no option or group trainin; .*"
        r"\(did you mean 'training'\?\)",
    ),
    "an option without its group": (
        ["inner_lr=1"],
        r"inner_lr=1: there is no option or group inner_lr; .*"
        r"\(did you mean 'algorithm\.inner_lr'\?\)",
    ),
    "an option within a value": (
        ["training.iterations.x=3"],
        r"training\.iterations\.x=3: training\.iterations has no options within; accepted is "
        r"training\.iterations=value",
    ),
    "a second mistake": (
        ["algorithm.iner_lr=1", "dataset=omniglott"],
        r"dataset=omniglott: accepted is .*\(did you mean 'omniglot'\?\)",
    ),
    "an option taken away that is not there": (
        ["~algorithm.inner"],
        r"~algorithm\.inner: algorithm has no option inner; .*\(did you mean 'inner_lr'\?\)",
    ),
    "a plus that is too much": (
        ["+seed=1"],
        r"\+seed: this option already exists; accepted is seed=value",
    ),
    "a sweep without -m": (
        ["algorithm=maml,reptile"],
        r"algorithm=maml,reptile: several values are a sweep, which needs -m; .* is one choice",
    ),
    "a sweep over an option without -m": (
        ["seed=0,1"],
        r"seed=0,1: .*, which needs -m; accepted without it is one value, or a list as "
        r"seed=\[0,1\]",
    ),
    "a list of choices": (
        ["dataset=[sinusoid,glyphs]"],
        r"dataset=\[sinusoid,glyphs\]: accepted is one choice; "
        r"several are a sweep, -m dataset=sinusoid,glyphs",
    ),
    "a word": (["seed"], r"seed: accepted is key=value"),
    "the name of a choice": (
        ["reptile"],
        r"reptile: accepted is key=value "
        r"\(did you mean algorithm=reptile or evaluation=reptile or tune=reptile\?\)",
    ),
    "an open bracket": (
        ["algorithm=[maml"],
        r"""algorithm=\[maml: \[ has no \]; accepted as text is "algorithm='\[maml'\"""",
    ),
    "two equal signs": (
        ["outputs=a=b"],
        r"outputs=a=b: text with special characters needs quotes; "
        r"""accepted is "outputs='a=b'\"""",
    ),
    "a sign in a sweep": (
        ["-m", "seed=0,1", "outputs=a=b"],
        r"outputs=a=b: text with special characters needs quotes; "
        r"""accepted is "outputs='a=b'\"""",
    ),
    "spaces": (["seed = 3"], r"seed = 3: accepted is seed=3, without spaces around ="),
    "spaces in a sweep": (
        ["-m", "seed = 0,1"],
        r"seed = 0,1: accepted is seed=0,1, without spaces around =",
    ),
    "spaces between arguments": (
        ["seed", "=", "3"],
        r"seed = 3: accepted is seed=3, without spaces around =",
    ),
    "a space before": (["seed", "=3"], r"seed =3: accepted is seed=3, without spaces around ="),
    "a space after": (
        ["algorithm=", "reptile"],
        r"algorithm= reptile: accepted is algorithm=reptile, without spaces around =",
    ),
    "no key": (["=3"], r"=3: accepted is key=value"),
    "nothing": ([""], r"'': accepted is key=value"),
    "an unknown function": (
        ["seed=rang(0,3)"],
        r"seed=rang\(0,3\): Unknown function 'rang'; accepted: bool, choice, .*",
    ),
    "a function's wrong arguments": (
        ["seed=int(x)"],
        r"seed=int\(x\): invalid literal for int\(\) with base 10: 'x'",
    ),
    "the config of a sweep": (
        ["-m", "seed=0,1", "--cfg", "job"],
        r"-m --cfg job: shows one run; accepted is --cfg job without -m, with one value .*",
    ),
    "the config of a table": (
        ["-m", "+table=maml_sinusoid", "--cfg", "job"],
        r"-m --cfg job: shows one run; accepted is --cfg job without -m, "
        r"as in mamlbench experiment=\.\.\. --cfg job for one cell of a table",
    ),
    "an unknown launcher": (
        ["-m", "hydra/launcher=nope"],
        r"hydra/launcher=nope: accepted is .*basic.*",
    ),
    "an unknown option of Hydra's": (
        ["hydra.nope=1"],
        r"hydra\.nope=1: hydra has no option nope; .*",
    ),
    "a primary config of one's own": (
        ["--config-dir=.", "-cn", "mine"],
        r"--config-name=mine: accepted is --config-dir=FOLDER experiment=NAME, for .*",
    ),
    "another config tree": (
        ["--config-path=."],
        r"--config-path=\.: accepted is --config-dir=FOLDER experiment=NAME, for .*",
    ),
    "a working folder for each job": (
        ["-m", "seed=0,1", "hydra.job.chdir=true"],
        r"hydra\.job\.chdir=true: accepted is outputs=FOLDER, the folder of all runs",
    ),
    "the mode of a sweep": (["hydra.mode=MULTIRUN", "seed=0,1"], r"hydra\.mode=.*: accepted is -m"),
    "an unknown flag": (["--bogus"], r"unrecognized arguments: --bogus; mamlbench --help .*"),
}


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(mamlbench, full_match, arguments, expected):
    result = mamlbench(*arguments, *([] if "-m" in arguments else ["--cfg", "job"]))
    assert result.code == 2
    assert result.out == ""
    full_match(expected, result.complaint)


def test_yaml_of_ones_own(mamlbench, tmp_path):
    file = tmp_path / "conf" / "algorithm" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("rate: [1, 2\nother: 3\n")
    result = mamlbench("--config-dir", str(tmp_path / "conf"), "algorithm=mine", "--cfg", "job")
    assert result.code == 2
    assert "YAML: " in result.complaint
    assert "mine.yaml" in result.complaint


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            ["algorithm=bare"],
            r"algorithm=bare: its YAML has no evaluation; accepted under its defaults .*",
        ),
        (
            ["algorithm=bare", "evaluation=standard"],
            r"algorithm=bare: its YAML has no evaluation; .*",
        ),
        (
            ["dataset=plain"],
            r"dataset=plain: its YAML has no network; accepted under its defaults .*",
        ),
        (["dataset=plain", "network=mlp"], r"dataset=plain: its YAML has no network; .*"),
    ],
)
def test_configs_of_ones_own_that_bring_too_little(mamlbench, full_match, typed, expected):
    for group, name, target in (
        ("algorithm", "bare", "algorithms.MAML"),
        ("dataset", "plain", "datasets.Sinusoid"),
    ):
        Path("own", group).mkdir(parents=True)
        Path("own", group, f"{name}.yaml").write_text(f"_target_: mamlbench.{target}\n")
    result = mamlbench("--config-dir=own", *typed)
    assert result.code == 2
    full_match(expected, result.complaint)


def test_what_is_not_the_users_mistake():
    assert one_line(ZeroDivisionError("1/0"), []) is None
    assert one_line(FileNotFoundError(errno.ENOENT, "gone", "/a/b"), []) is None
    assert one_line(ValueError("shapes differ"), []) is None
    assert one_line(OSError("no number"), []) is None


def test_what_the_disk_refuses():
    full = OSError(errno.ENOSPC, "No space left on device", "outputs/.sweep")
    assert one_line(full, []) == "cannot write outputs/.sweep: the disk is full"


def test_other_words_of_hydra_are_cut_to_their_first_line():
    assert one_line(HydraException("something else\nand more"), []) == "something else"


@pytest.mark.parametrize("plus", ["", "+"])
def test_a_plus_before_a_group_means_nothing(mamlbench, plus):
    line = "experiment=maml/sinusoid", "evaluation=standard", "network=linear"
    result = mamlbench(*(plus + group for group in line), "--cfg", "job")
    assert result.code == 0
    assert "networks.LinearClassifier\n" in result.out
    assert "shots: 5\n" in result.out  # from the experiment


def test_flags_among_overrides(mamlbench):
    result = mamlbench("seed=5", "--cfg", "job", "training.iterations=7")
    assert "seed: 5\n" in result.out
    assert "iterations: 7\n" in result.out
