"""A run that is interrupted and restarted ends as if it had never been interrupted."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import runs
from torch import nn

from mamlbench import checkpoint
from mamlbench.compose import experiment
from mamlbench.config.tree import ConfigTree
from mamlbench.datasets import Sinusoid
from mamlbench.errors import UserError
from mamlbench.hardware.device import Hardware
from mamlbench.run.signals import Stopped

SCHEDULE = [
    "training.log_every=5",
    "training.validate_every=15",
    "training.checkpoint_every=7",
]
CASES = [
    ("maml", "sinusoid", 600),
    ("fomaml", "sinusoid", 600),
    ("joint", "sinusoid", 600),
    ("mamlpp", "sinusoid", 300),
    ("reptile", "sinusoid", 300),
    ("reptile", "glyphs", 150),
]


def newer(folder: Path, than: int, command: runs.Command) -> int:
    """Wait until the last checkpoint's time, in ns, differs from `than`, and return it."""
    last_moment = time.monotonic() + 60
    while time.monotonic() < last_moment and command.process.is_alive():
        if (at := runs.saved_at(folder)) not in (0, than):
            return at
        time.sleep(0.002)
    raise AssertionError("there was no newer checkpoint: the run ended, or hangs")


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "dataset", "iterations"), CASES)
def test_kill_at_random_instants(
    tmp_path: Path, algorithm: str, dataset: str, iterations: int
) -> None:
    """Each process saves at least one checkpoint before its kill, so it dies during training."""
    settings = [*SCHEDULE, f"training.iterations={iterations}"]
    undisturbed = experiment(runs.overrides(tmp_path / "a", algorithm, dataset, *settings))
    undisturbed.run()

    arguments = runs.overrides(tmp_path / "b", algorithm, dataset, *settings)
    folder = experiment(arguments).folder.path
    saved, before = folder / "checkpoint.pt", folder / "checkpoint_before.pt"
    instant = random.Random(algorithm)
    at, reached = 0, [0]
    for _ in range(4):
        command = runs.Command(arguments)
        for _ in range(instant.randint(1, 3)):
            at = newer(folder, at, command)
        time.sleep(instant.uniform(0.0, 0.02))
        command.send(signal.SIGKILL)
        assert command.wait() == -signal.SIGKILL, "the run is too short to be killed"
        state = checkpoint.load_newest(saved, before)
        assert state is not None
        reached.append(state["iteration"])
        at = runs.saved_at(folder) or at
    assert reached == sorted(set(reached))
    assert not (folder / "summary.json").exists()
    assert runs.Command(arguments).wait() == 0

    expected, found = runs.result(undisturbed.folder.path), runs.result(folder)
    expected["summary"]["command"] = found["summary"]["command"]  # another outputs folder
    assert found == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_stops(tmp_path: Path, number: signal.Signals) -> None:
    settings = [*SCHEDULE, "training.iterations=4000", "training.checkpoint_every=100000"]
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *settings)
    folder = experiment(arguments).folder.path
    command = runs.Command(arguments)
    command.wait_for(folder / "metrics.csv")
    time.sleep(0.1)
    command.send(number)
    assert command.wait() == 128 + number
    assert (folder / "checkpoint.pt").is_file()
    assert not (folder / "summary.json").exists()
    assert list(folder.glob(".*.tmp")) == []


class Dropping(nn.Sequential):
    """A module of a user's own with random numbers from torch's generator."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, hidden: list[int]) -> None:
        (size,), (width,) = input_shape, hidden
        layers = nn.Linear(size, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, outputs)
        super().__init__(*layers)


DROPPING = [
    f"network._target_={__name__}.Dropping",
    *("~network.activation", "~network.norm", "~network.affine", "~network.init"),
]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("algorithm", "more"),
    [
        *((name, []) for name in ConfigTree().choices("algorithm")),
        pytest.param("maml", DROPPING, id="maml with dropout"),
        pytest.param("reptile", DROPPING, id="reptile with dropout"),
    ],
)
def test_stop_and_go_on_within_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str, more: list[str]
) -> None:
    settings = [*SCHEDULE, "training.iterations=24", *more]
    whole = runs.begun(runs.overrides(tmp_path / "a", algorithm, "sinusoid", *settings))
    whole.run()

    arguments = runs.overrides(tmp_path / "b", algorithm, "sinusoid", *settings)
    first = runs.begun(arguments)
    runs.stop_at(first, 11, monkeypatch)
    with pytest.raises(Stopped) as stopped:
        first.run()
    assert stopped.value.iteration == 11

    second = runs.begun(arguments)
    second.run()
    expected, found = runs.result(whole.folder.path), runs.result(second.folder.path)
    expected["summary"]["command"] = found["summary"]["command"]
    assert found == expected


def test_a_run_in_pieces_says_on_which_device_each_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", "training.iterations=5")
    here = experiment(arguments)
    step = here.learner.meta_step
    monkeypatch.setattr(here.learner, "meta_step", lambda tasks: _stopping(step, tasks))
    with pytest.raises(Stopped):
        here.run()
    monkeypatch.setattr(Hardware, "name", "a GPU")
    summary = experiment(arguments).run()
    assert re.fullmatch(
        r"cpu, \d+ threads? \(1 iterations\), then a GPU \(4 iterations\)", summary["device"]
    )


def _stopping(step: Callable[[object], object], tasks: object) -> object:
    signal.raise_signal(signal.SIGTERM)
    return step(tasks)


def test_rows_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SCHEDULE, "training.iterations=30")
    run = experiment(arguments)
    run.run()
    metrics = run.folder.path / "metrics.csv"
    before_columns = len(metrics.read_text().splitlines()[0].split(","))
    before = runs.result(run.folder.path)
    run.folder.summary.unlink()
    with metrics.open("a") as file:
        row = ["35", *["0.5"] * (before_columns - 1)]
        file.write(",".join(row) + "\n4")  # after the last checkpoint; a torn last line
    again = experiment(arguments)
    again.run()
    assert runs.result(again.folder.path) == before


def test_other_data_is_not_resumed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SCHEDULE, "training.iterations=7")
    run = experiment(arguments)
    run.run()
    run.folder.summary.unlink()
    monkeypatch.setattr(Sinusoid, "sha256", "0123")
    with pytest.raises(UserError, match="was trained on other data"):
        experiment(arguments).run()
