"""Full, read-only and damaged files, clocks that go backwards, caches that many build at once."""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import runs
import torch
from PIL import Image

from mamlbench import checkpoint
from mamlbench.compose import experiment
from mamlbench.datasets import store
from mamlbench.datasets.pictures import Decoding, Source, class_folders, files_in
from mamlbench.errors import UserError

SETTINGS = [
    "training.iterations=12",
    "training.log_every=2",
    "training.validate_every=3",
    "training.checkpoint_every=5",
]


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an undisturbed run."""
    outputs = tmp_path_factory.mktemp("whole")
    with runs.without_figures():
        run = experiment(runs.overrides(outputs, "maml", "sinusoid", *SETTINGS))
        run.run()
    return run.folder.path


def assert_same(whole: Path, other: Path) -> None:
    """The results are byte-equal, except for the folder in the command."""
    expected, found = runs.result(whole), runs.result(other)
    expected["summary"]["command"] = found["summary"]["command"]
    assert found == expected


# --- damaged checkpoints --------------------------------------------------------------------------

DAMAGES = {
    "empty": lambda good: b"",
    "cut short": lambda good: good[: len(good) // 2],
    "altered": lambda good: good[:900] + bytes([good[900] ^ 1]) + good[901:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_checkpoint_before_a_damaged_one_is_used(tmp_path, caplog, whole, damage):
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS)
    run = experiment(arguments)
    shutil.copytree(whole, run.folder.path)
    run.folder.summary.unlink()
    newest, before = (run.folder.path / n for n in ("checkpoint.pt", "checkpoint_before.pt"))
    assert checkpoint.load(before)["iteration"] == 10
    bad = damage(newest.read_bytes())
    newest.write_bytes(bad)
    run.run()
    assert_same(whole, run.folder.path)
    ours, theirs = (checkpoint.load(at / "best.pt") for at in (run.folder.path, whole))
    assert ours["iteration"] == theirs["iteration"]
    assert all(torch.equal(ours["learner"][k], v) for k, v in theirs["learner"].items())
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warnings[0].startswith(f"checkpoint={newest}: ")
    assert warnings[0].endswith("; continuing with the one before, of iteration 10")
    (best,) = warnings[1:]
    pattern = r".*/best\.pt: lacks iteration \d+; the search for the best starts over"
    assert re.fullmatch(pattern, best)
    # the damaged checkpoint has not replaced the good one, and is kept for inspection
    assert checkpoint.load(before)["iteration"] == 10
    assert newest.with_name("checkpoint_damaged.pt").read_bytes() == bad
    assert checkpoint.load(newest)["iteration"] == 12


def test_both_are_damaged(tmp_path, whole):
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS))
    shutil.copytree(whole, run.folder.path)
    run.folder.summary.unlink()
    for name in ("checkpoint.pt", "checkpoint_before.pt"):
        (run.folder.path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match=r"checkpoint\.pt: .*_before\.pt: .*; restart=true starts"):
        run.run()


# --- disks ----------------------------------------------------------------------------------------


def test_full_at_one_size_after_another(disk, whole):
    """Each start gets further and names the file that did not fit; the last ends undisturbed."""
    complaints = []
    for kilobytes in itertools.count(8, 8):
        folder = disk(f"size={kilobytes}k")
        run = experiment(runs.overrides(folder, "maml", "sinusoid", *SETTINGS))
        try:
            run.run()
            break
        except UserError as error:
            complaints.append(str(error))
    assert len(complaints) >= 3
    assert all(line.endswith(": the disk is full") for line in complaints), complaints
    assert_same(whole, run.folder.path)


def test_outputs_that_can_only_be_read(disk, whole, tmp_path):
    folder = disk("size=1m")
    arguments = runs.overrides(folder, "maml", "sinusoid", *SETTINGS)
    run = experiment(arguments)
    shutil.copytree(whole, run.folder.path)
    disk("ro")
    # a finished run there is shown all the same
    assert run.run() == json.loads((whole / "summary.json").read_text())
    for more in ("seed=1", "restart=true"):
        with pytest.raises(UserError, match=r"cannot write .*: not writable, .* is read-only$"):
            experiment([*arguments, more]).run()
    disk("rw")


# --- clocks ---------------------------------------------------------------------------------------


def test_a_clock_that_goes_backwards(tmp_path, monkeypatch, whole):
    hours = itertools.count(0, -3600)
    monkeypatch.setattr(time, "time", lambda: 1.6e9 + next(hours))
    monkeypatch.setattr(time, "time_ns", lambda: int(1.6e18) + next(hours) * 10**9)
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS))
    summary = run.run()
    assert 0 < summary["train"]["seconds"] < 600
    assert summary["train"]["tasks_per_second"] > 0
    assert_same(whole, run.folder.path)


def test_times_of_files_mean_nothing(tmp_path, whole):
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS))
    shutil.copytree(whole, run.folder.path)
    run.folder.summary.unlink()
    # as after a wrong clock: the previous checkpoint is the younger one, and all are in the future
    for number, path in enumerate(sorted(run.folder.path.iterdir())):
        os.utime(path, (4e9 + number, 4e9 + number))
    run.run()
    assert_same(whole, run.folder.path)
    assert not (run.folder.path / "checkpoint_damaged.pt").exists()


# --- a cache built by many processes --------------------------------------------------------------


@pytest.mark.slow
def test_a_cache_that_64_processes_want_at_once_one_of_them_killed(tmp_path, monkeypatch):
    """The processes share a folder; the first to build the cache is killed halfway."""
    monkeypatch.setattr(store, "user_cache_path", lambda name: tmp_path / "own" / name)
    for number in range(6):
        path = tmp_path / "pictures" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 10 * number, np.uint8)).save(path)
    folder, decoded = tmp_path / "pictures", tmp_path / "decoded"
    source = Source("toy", lambda: files_in(folder), lambda: class_folders(folder))
    decode = store.decode

    def slowly(picture, decoding):
        with decoded.open("a") as file:  # appending a byte is atomic
            file.write("x")
        if decoded.stat().st_size == 3:
            os.kill(os.getpid(), 9)
        time.sleep(0.02)
        return decode(picture, decoding)

    monkeypatch.setattr(store, "decode", slowly)
    gate, opener = os.pipe()
    children = []
    for _ in range(64):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(opener)
                os.read(gate, 1)
                found = store.fetch(source, Decoding(1, 4, 4, "nearest"), tmp_path)
                values = found.images[:, 0, 0, 0].tolist()
                code = 0 if values == [0, 20, 40, 10, 30, 50] else 2
            finally:
                os._exit(code)
        children.append(child)
    os.close(opener)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert sorted(codes) == [-9] + [0] * 63
    assert decoded.read_text() == "x" * (3 + 6)  # by the killed process, and once by all others
    left = {path.suffix for path in (tmp_path / "cache").iterdir()}
    assert left <= {".npy", ".json", ".lock", ".source"}
