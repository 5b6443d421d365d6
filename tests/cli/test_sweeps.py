"""Sweeps fill gaps, continue after a failure and report it, and leave no stray files."""

import gc
import json
import shutil
import weakref
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf
from runs import RUN, files_below

from mamlbench.cli.command_line import options_of_each_job
from mamlbench.config.overrides import quoted
from mamlbench.experiment import Experiment

pytestmark = pytest.mark.usefixtures("no_figures")

SWEEP = ["-m", "algorithm=maml,reptile", "dataset.shots=1,5", *RUN]


def summaries(folder: Path) -> dict[str, float]:
    """When each run below a folder finished."""
    found = folder.rglob("summary.json")
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime for path in found}


def test_a_sweep_run_again_fills_its_gaps(mamlbench):
    outputs = Path("outputs")
    assert mamlbench(*SWEEP).code == 0
    first = summaries(outputs)
    assert len(first) == 4
    settings = {tuple(name.split("/")[1:4]) for name in first}
    algorithms, shots = ("maml", "reptile"), ("1shot", "5shot")
    assert settings == {(a, "sinusoid", s) for a in algorithms for s in shots}

    gap = sorted(first)[2]
    (outputs / gap).unlink()
    again = mamlbench(*SWEEP)
    assert again.code == 0
    second = summaries(outputs)
    assert second.keys() == first.keys()
    assert [name for name in first if second[name] != first[name]] == [gap]
    assert again.out.count("inner steps |") == 4  # results of finished runs are shown too
    assert again.err.count("mamlbench trains ") == 1

    assert {entry.name for entry in Path().iterdir()} == {"outputs"}
    assert {entry.name for entry in outputs.iterdir()} == {"default", ".sweep"}
    assert files_below(outputs / ".sweep") == ["multirun.yaml"]
    assert not [name for name in files_below(outputs) if not Path(name).suffix]


def test_a_finished_run_is_shown(mamlbench, run):
    again = mamlbench(*RUN)
    assert again.code == 0
    assert again.err.startswith("mamlbench shows maml sinusoid ")
    assert again.err.endswith(f" in {run}; restart=true starts over\n")
    assert "inner steps |" in again.out


@pytest.mark.parametrize("text", ["~/x", "é # ! &", "it's", "2024", "true", "null", "a 'b' (c)"])
def test_text_in_quotes_stays_what_it_is_beside_a_sweep_over_a_group(text):
    Plugins.instance()  # before importing our sweeper, which inherits from one of Hydra's
    from mamlbench.sweeps.sweeper import CellSweeper

    typed = ["-m", "algorithm=maml,fomaml", f"dataset.root={quoted(text)}", "seed=0"]
    parsed = OverridesParser.create().parse_overrides(options_of_each_job(typed)[1:])
    jobs = CellSweeper().runs(parsed)
    assert [job[1:] for job in jobs] == [typed[2:]] * 2
    assert OverridesParser.create().parse_override(jobs[0][1]).value() == text


def test_options_that_the_default_algorithm_lacks(mamlbench):
    result = mamlbench("-m", "algorithm=emaml,bmaml", "algorithm.particles=2", *RUN)
    assert result.code == 0
    configs = [OmegaConf.load(path) for path in Path("outputs").rglob("config.yaml")]
    assert len(configs) == 2
    assert {config.algorithm.particles for config in configs} == {2}


@pytest.mark.parametrize("algorithms", ["emaml,maml", "maml,emaml"])
def test_an_option_that_some_jobs_lack_is_said_before_anything_runs(mamlbench, algorithms):
    result = mamlbench("-m", f"algorithm={algorithms}", "algorithm.particles=2", *RUN)
    assert result.code == 2
    assert result.complaint.startswith("algorithm.particles=2: ")
    assert not summaries(Path("outputs"))


def test_one_failing_job_does_not_stop_the_others(mamlbench):
    result = mamlbench("-m", "seed=0,1", "algorithm.inner_lr=-1,0.01", *RUN)
    assert result.code == 2
    assert len(summaries(Path("outputs"))) == 2
    complaints = [line for line in result.err.splitlines() if line.startswith("mamlbench: ")]
    reason = "algorithm.inner_lr=-1.0: accepted is 0 or more"
    overrides = " ".join(RUN)
    assert complaints == [
        f"mamlbench: seed=0 algorithm.inner_lr=-1 {overrides}: {reason}",
        f"mamlbench: seed=1 algorithm.inner_lr=-1 {overrides}: {reason}",
        f"mamlbench: {reason}",
    ]
    assert "Traceback" not in result.err


def test_a_failed_run_takes_no_memory_from_the_next(mamlbench, monkeypatch):
    """Hydra keeps each error with its traceback until the sweep ends."""
    began, there = [], []
    run = Experiment.run

    def watched(self):
        gc.collect()
        there.append(sum(one() is not None for one in began))
        began.append(weakref.ref(self))
        return run(self)

    monkeypatch.setattr(Experiment, "run", watched)
    diverging = "algorithm.inner_lr=1e30", "algorithm.inner_steps=3", "seed=0,1,2"
    result = mamlbench("-m", *RUN, *diverging)
    assert result.code == 2
    assert result.err.count("not finite") >= 3
    assert there == [0, 0, 0]


def test_a_broken_class_fails_its_job_only(mamlbench, monkeypatch, tmp_path):
    (tmp_path / "broken_lab.py").write_text("def learner():\n    return 1 / 0\n\n\nlearner()\n")
    monkeypatch.syspath_prepend(tmp_path)
    targets = "broken_lab.Learner,mamlbench.algorithms.MAML"
    result = mamlbench("-m", f"algorithm._target_={targets}", *RUN)
    assert result.code == 2
    why = f"{tmp_path / 'broken_lab.py'}, line 2: ZeroDivisionError: division by zero"
    assert why in result.err
    assert len(summaries(Path("outputs"))) == 1


def test_without_what_slurm_needs(mamlbench, without):
    without("submitit")
    result = mamlbench("-m", "hardware=slurm_cpu", "seed=0,1")
    assert result.code == 2
    needs = "hardware=slurm_...: needs `pip install -e '.[slurm]'` in the checkout"
    assert result.complaint == needs


def test_an_option_that_the_sweeper_has_not(mamlbench):
    result = mamlbench("-m", "+hydra.sweeper.foo=1", *RUN, "seed=0,1")
    assert result.code == 2
    assert "CellSweeper" in result.complaint
    assert "unexpected keyword argument 'foo'" in result.complaint


def test_an_unknown_value_is_said_before_anything_runs(mamlbench):
    result = mamlbench("-m", "algorithm=maml,mmal", *RUN)
    assert result.code == 2
    assert result.complaint.startswith("algorithm=mmal: accepted is ")
    assert not summaries(Path("outputs"))


def test_outputs_that_cannot_be_made(mamlbench):
    Path("taken").write_text("a file")
    result = mamlbench("-m", "seed=0,1", "outputs=taken", *RUN)
    assert result.code == 2
    assert result.complaint.startswith("cannot write taken/.sweep: not writable")
    assert files_below(Path()) == ["taken"]


def test_a_single_run_leaves_nothing_about(mamlbench):
    result = mamlbench(*RUN)
    assert result.code == 0
    assert {entry.name for entry in Path().iterdir()} == {"outputs"}
    [summary] = Path("outputs").rglob("summary.json")
    assert json.loads(summary.read_text())["train"]["iterations"] == 2


def test_finished_runs_are_neither_composed_nor_built_one_by_one(mamlbench, run, monkeypatch):
    for seed in range(1, 30):
        shutil.copytree(run, run.with_name(f"seed{seed}"))
    (run.with_name("seed7") / "summary.json").unlink()
    composed, built = [], []
    compose, build = ConfigLoaderImpl.load_configuration, Experiment.__init__

    def counted(self, *arguments, **named):
        composed.append(arguments)
        return compose(self, *arguments, **named)

    def noted(self, config, *arguments):
        built.append(config.seed)
        build(self, config, *arguments)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    monkeypatch.setattr(Experiment, "__init__", noted)
    result = mamlbench("-m", "seed=range(0,30)", *RUN)
    assert result.code == 0
    assert result.out.count("inner steps |") == 30
    assert "already finished: 29 of 30 runs\n" in result.err
    assert built == [7]
    # twice by Hydra for the sweep, once for the only choice of groups, once for the unfinished run
    assert len(composed) == 4


@pytest.mark.parametrize("empty", ["seed=range(0)", "dataset.shots=range(5,5)"])
def test_a_sweep_over_nothing(mamlbench, empty):
    result = mamlbench("-m", empty, *RUN)
    assert result.code == 2
    expected = f"{empty}: makes no run; accepted are values for each key"
    assert result.err.splitlines()[-1] == f"mamlbench: {expected}"


def test_outputs_in_the_home_folder(mamlbench, monkeypatch, tmp_path):
    """Not every shell expands the ~ in `outputs=~/runs`, and YAML never does."""
    monkeypatch.setenv("HOME", str(tmp_path))
    again = [*RUN, "outputs='~/runs'"]
    assert mamlbench(*again).code == 0
    (summary,) = (tmp_path / "runs").rglob("summary.json")
    kept = str(summary.parent).replace(str(tmp_path), "~")
    assert "shows" in mamlbench("-m", *again, "seed=0").out + mamlbench(*again).err
    assert mamlbench(f"checkpoint='{kept}'", "evaluation.shots=3", "outputs='~/runs'").code == 0
    assert (tmp_path / "runs" / ".sweep").is_dir()
    assert not Path("~").exists()
    assert mamlbench(*RUN, "outputs='~nobody_here/runs'").code == 0  # kept, as in a shell
    assert Path("~nobody_here/runs").is_dir()


def test_no_outputs(mamlbench):
    result = mamlbench(*RUN, "outputs=")
    assert (result.code, result.err) == (2, "mamlbench: outputs=: accepted is a folder\n")
