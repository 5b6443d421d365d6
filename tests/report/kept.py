"""Write the files of finished runs without training anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from omegaconf import OmegaConf

from mamlbench.config.config_hash import config_hash
from mamlbench.config.tree import ConfigTree
from mamlbench.metrics import higher_is_better
from mamlbench.report.sheets import Sheet

SINUSOID = ("experiment=maml/sinusoid", "evaluation.tasks=4")
SCORES = np.array([[4.0, 3.0, 5.0, 4.0], [0.5, 0.7, 0.9, 0.5], [0.3, 0.5, 0.4, 0.4]])
"""MSE of four test tasks [T] after 0, 1 and 2 inner steps."""
CODE = "1234567" + "0" * 33


def composed(*overrides: str) -> dict[str, Any]:
    """What `mamlbench <overrides>` would write into `config.yaml`."""
    config = ConfigTree().compose(overrides)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return OmegaConf.to_container(config, resolve=True)


def keep(
    folder: Path,
    config: dict[str, Any],
    scores: np.ndarray = SCORES,
    seed: int = 0,
    commit: str | None = CODE,
    metric: str = "mse",
    **summary: Any,
) -> Path:
    """Write a finished run to `folder`; `scores` [S+1, T] are by inner step and test task."""
    folder.mkdir(parents=True)
    command = f"mamlbench experiment=maml/sinusoid seed={seed}"
    about = {"command": command, "versions": {"mamlbench": "0.1.0"}, "commit": commit}
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "seed": seed, "about": about}))
    steps, tasks = scores.shape
    by_step = []
    for row in scores:
        half = 3.182446305284263 * row.std(ddof=1) / np.sqrt(tasks)  # t for 3 degrees of freedom
        by_step.append({metric: {"mean": row.mean(), "ci95": half, "n_tasks": tasks}})
    protocol, iterations = config["evaluation"], config["training"]["iterations"]
    train = {"iterations": iterations, "seconds": 60.0 + seed, "skipped": 0}
    content = {
        "metric": metric,
        "higher_is_better": higher_is_better(metric),
        "test": {**by_step[-1], "by_step": by_step},
        "diverged_tasks": 0,
        "train": train | summary.pop("train", {}),
        "evaluation": f"{protocol['name']}: {tasks} tasks, {protocol['queries']} queries per class",
        "algorithm": "maml",
        "dataset": "sinusoid",
        "setting": f"{config['dataset']['shots']}shot",
        "hash": config_hash(config),
        "seed": seed,
        "trained_iterations": iterations,
        "of_unfinished": False,
        "device": "cpu, 1 thread",
        "versions": {"mamlbench": "0.1.0"},
        "data_sha256": None,
        "command": command,
        **summary,
    }
    (folder / "summary.json").write_text(json.dumps(content))
    rows = [(t, s, scores[s, t]) for t in range(tasks) for s in range(steps)]
    tests = pd.DataFrame(rows, columns=["task", "step", metric])
    tests.to_csv(folder / "test_tasks.csv", index=False)
    curve = {"iteration": [1, 2, 3], f"val/{metric}": [3.0, 2.0 + seed, 1.0 + 2 * seed]}
    pd.DataFrame({**curve, f"val/{metric}_ci95": [0.3, 0.2, 0.1]}).to_csv(
        folder / "metrics.csv", index=False
    )
    return folder


def texts(sheet: Sheet) -> list[list[str]]:
    """The rows of a sheet as a reader sees them, with their marks."""
    return [[*map(str, row)] for row in sheet.rows]
