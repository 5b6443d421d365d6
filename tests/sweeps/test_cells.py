"""A sweep's cells, read without building runs, have the folders and labels of their runs."""

from pathlib import Path

import pytest
from hydra import initialize_config_module
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from runs import RUN, overrides

from mamlbench.compose import experiment, other_tests
from mamlbench.sweeps.cells import CellReader


@pytest.fixture
def reader():
    GlobalHydra.instance().clear()
    with initialize_config_module("mamlbench.conf", version_base="1.3"):
        hydra: Hydra = GlobalHydra.instance().hydra
        master = hydra.compose_config("config", [], run_mode=RunMode.MULTIRUN)
        yield CellReader(HydraContext(hydra.config_loader, None), master)


CELLS = [
    ["seed=0"],
    ["seed=1"],
    ["seed=1", "algorithm.inner_lr=0.02"],
    ["seed=0", "algorithm.inner_lr=0.02"],
    ["seed=0", "algorithm=reptile", "dataset.shots=5"],
    ["seed=0", "algorithm=reptile", "dataset.shots=1"],
    ["seed=0", "network.hidden=[4]"],
    ["seed=0", "network.hidden=[4,4]"],
    ["algorithm={inner_lr: 0.3}"],
    ["algorithm={first_order: true}"],  # must not keep the rate of the previous cell
    ["budget=smoke", "dataset=harmonic_sinusoid"],
    ["hardware=slurm_cpu", "hardware.time=5", "seed=0"],
    ["name=other", "outputs=elsewhere"],
    ["name=other", "outputs=elsewhere", "hydra.verbose=true"],
]


def test_each_cell_has_the_folder_of_its_run(reader):
    cells = [reader.read(["algorithm=maml", *RUN, *cell]) for cell in CELLS]
    for cell, more in zip(cells, CELLS, strict=True):
        run = experiment(["algorithm=maml", *RUN, *more])
        assert cell.folder == run.folder, more
        assert cell.label == run.name.label
        assert cell.metric == run.dataset.objective.metric
    # hardware=slurm_cpu has the folder of the CPU's run; Hydra's options do not change the folder
    assert len({cell.folder for cell in cells}) == len(CELLS) - 2


def test_a_finished_run_is_finished_until_it_is_to_begin_anew(reader, tmp_path: Path):
    arguments = overrides(tmp_path, "maml", "sinusoid")
    cell, anew = reader.read(arguments), reader.read([*arguments, "restart=true"])
    assert not cell.is_finished
    cell.folder.path.mkdir(parents=True)
    cell.folder.summary.write_text("{}")
    assert cell.folder == anew.folder
    assert cell.is_finished
    assert not anew.is_finished


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("more", [[], ["budget=smoke"]])
def test_a_run_is_finished_when_its_other_tests_are(reader, tmp_path: Path, more):
    also = 'also_test=[["evaluation.tasks=2"],["evaluation.shots=7","algorithm.inner_lr=0.02"]]'
    line = ["algorithm=maml", *RUN, f"outputs={tmp_path}", *more]
    cell, run = reader.read([*line, also, "hydra.verbose=true"]), experiment([*line, also])
    assert cell.folder == run.folder == experiment(line).folder
    run.run()
    tests = list(other_tests(run))
    for test, read in zip(tests, cell.other_tests(), strict=True):
        assert not cell.is_finished
        assert (read.folder, read.label) == (test.folder, test.name.label)
        test.run()
    assert cell.is_finished
    assert not reader.read([*line, also, "restart=true"]).is_finished


def test_a_mistake_in_another_test_is_not_finished(reader, tmp_path: Path):
    line = [*RUN, f"outputs={tmp_path}"]
    for mistake in ("evaluation.taks=2", "evaluation.tasks=2", "evaluation=std"):
        cell = reader.read([*line, f'also_test=[["{mistake}"]]'])  # and there is no checkpoint
        cell.folder.path.mkdir(parents=True, exist_ok=True)
        cell.folder.summary.write_text("{}")
        assert not cell.is_finished


@pytest.mark.parametrize("more", ["checkpoint=a.pt", "warm_start=a.pt", "dataset.shots=0"])
def test_what_only_the_run_can_tell(reader, more):
    cell = reader.read([*RUN, more])
    assert cell.folder is None
    assert not cell.is_finished


def test_an_override_that_fits_nothing(reader):
    with pytest.raises(HydraException):
        reader.read(["nothing=1"])
