import importlib.util

import pytest

from mamlbench.errors import UserError
from mamlbench.loggers import Loggers, RunInfo, TensorBoardLogger


def curves(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def write(folder, iterations, start, factor=1.0):
    with Loggers([TensorBoardLogger()]) as loggers:
        loggers.start(RunInfo(folder, "a run", "abc-0", {}, start, 100))
        for at in iterations:
            loggers.log(at, {"train/loss": factor * at, "val/accuracy": 0.25})


def test_tensorboard_reads_back_the_same_names_and_values(tmp_path):
    write(tmp_path, (10, 20), start=0)
    assert curves(tmp_path) == {
        "train/loss": [(10, 10.0), (20, 20.0)],
        "val/accuracy": [(10, 0.25), (20, 0.25)],
    }


def test_a_continued_run_takes_the_place_of_what_came_after_its_checkpoint(tmp_path):
    write(tmp_path, (10, 20, 30, 40), start=0)
    write(tmp_path, (30, 50), start=20, factor=2.0)
    assert curves(tmp_path)["train/loss"] == [(10, 10.0), (20, 20.0), (30, 60.0), (50, 100.0)]


def test_missing_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[tensorboard\]'"):
        TensorBoardLogger()
