"""Two tasks of one SLURM job share a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs

from mamlbench.compose import experiment

RUN = [
    *runs.TINY["sinusoid"],
    "logger=csv",
    "hardware.precision=float64",
    "hardware.threads=1",
    "training.iterations=20",
    "training.log_every=5",
    "training.validate_every=10",
]
SLURM = [
    "hardware=slurm_nodes",
    *("hardware.device=cpu", "hardware.gpus=null", "hardware.nodes=1", "hardware.tasks_per_node=2"),
    *("hardware.cpus=1", "hardware.memory=1", "hardware.time=20"),
]


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_two_tasks_on_a_node_share_a_run(mamlbench, slurm_conf, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm_conf)
    shared = mamlbench("-m", "seed=0", *RUN, *SLURM)
    log = next(Path("outputs/.sweep").glob("*/*_0_log.out")).read_text()
    assert shared.code == 0, log
    assert log.count("mamlbench trains maml sinusoid") == 1

    alone = experiment([*RUN, "seed=0", "outputs=alone"])
    summary = alone.run()
    folders = alone.folder.path, experiment([*RUN, "seed=0"]).folder.path
    for name in ("metrics.csv", "test_tasks.csv"):
        expected, found = (pd.read_csv(folder / name) for folder in folders)
        left_out = {"tasks_per_second"} & set(expected)
        np.testing.assert_allclose(
            found.drop(columns=left_out), expected.drop(columns=left_out), rtol=1e-9
        )
    assert (
        experiment([*RUN, "seed=0"]).folder.read_summary()["device"] == "2 x " + summary["device"]
    )
