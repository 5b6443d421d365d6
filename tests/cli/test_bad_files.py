"""Damaged files and failing disks: one line, exit code 2, and the last good checkpoint survives."""

import io
import json
import pickle
import re
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from runs import RUN, files_below

from mamlbench import checkpoint
from mamlbench.training import Trainer

pytestmark = pytest.mark.usefixtures("no_figures")


class Bomb:
    """Writes a file when unpickled."""

    def __reduce__(self):
        return Path("exploded").write_text, ("boom",)


def test_a_torn_summary(mamlbench, run):
    summary = run / "summary.json"
    whole = summary.read_text()
    summary.write_text(whole[:50])
    result = mamlbench(*RUN)
    assert result.code == 2
    assert result.complaint.startswith(f"{summary}: damaged, it is not JSON; remove it ")
    summary.unlink()
    assert mamlbench(*RUN).code == 0
    assert json.loads(summary.read_text())["test"] == json.loads(whole)["test"]


DAMAGES = {
    "truncated": (lambda good: good[:-200], "the file is cut short or damaged"),
    "altered": (lambda good: good[:900] + bytes([good[900] ^ 1]) + good[901:], "the file is cut "),
    "no checkpoint": (lambda good: b"hello", "not a mamlbench checkpoint"),
    "empty": (lambda good: b"", "not a mamlbench checkpoint"),
    "hostile": (lambda good: pickle.dumps(Bomb()), "not a mamlbench checkpoint"),
    "hostile, of torch": (lambda good: saved(Bomb()), "not a mamlbench checkpoint: it holds code "),
    "of somebody else": (lambda good: saved({"model": {}}), "not a mamlbench checkpoint"),
}


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(("damage", "expected"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint(mamlbench, run, damage, expected):
    path = run / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    before = files_below(Path())
    result = mamlbench(f"checkpoint={path}", "evaluation.tasks=2")
    assert result.code == 2
    assert result.complaint.startswith(f"checkpoint={path}: {expected}")
    assert files_below(Path()) == before


@pytest.mark.parametrize("name", ["truncated", "hostile, of torch"])
def test_a_run_that_would_go_on_from_it(mamlbench, run, name):
    damage, expected = DAMAGES[name]
    path = run / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    (run / "summary.json").unlink()
    before = files_below(Path())
    result = mamlbench(*RUN)
    assert result.code == 2
    assert result.complaint.startswith(f"checkpoint={path}: {expected}")
    assert result.complaint.endswith("; restart=true starts over")
    status = path.with_name("status.json")
    assert json.loads(status.read_text())["error"] == result.complaint
    status.unlink()
    assert files_below(Path()) == before


def test_a_missing_checkpoint(mamlbench):
    result = mamlbench("checkpoint=nowhere")
    assert result.code == 2
    assert result.complaint == (
        "checkpoint=nowhere: nothing there; accepted is a run's folder or a checkpoint file"
    )
    Path("empty").mkdir()
    assert "a folder without best.pt" in mamlbench("checkpoint=empty").complaint
    assert files_below(Path()) == ["empty"]


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_several_checkpoints_in_a_command(mamlbench, run, flags):
    before = files_below(Path())
    result = mamlbench(*flags, f"checkpoint={run},elsewhere")
    assert (result.code, result.complaint) == (
        2,
        f"checkpoint={run},elsewhere: accepted is one per command, because each is tested "
        "with its own training's options",
    )
    assert files_below(Path()) == before


@pytest.mark.parametrize("option", ["checkpoint", "warm_start"])
def test_an_analysis_has_no_use_for_a_checkpoint(mamlbench, run, option):
    before = files_below(Path())
    result = mamlbench(f"{option}={run}", "experiment=reptile/taylor")
    assert (result.code, result.complaint) == (
        2,
        f"{option}={run}: accepted is null, because an analysis uses no run",
    )
    assert files_below(Path()) == before


@pytest.mark.parametrize("option", ["checkpoint", "warm_start"])
def test_a_file_that_is_no_checkpoint(mamlbench, option):
    Path("README.md").write_text("# Read this")
    result = mamlbench(f"{option}=README.md", *RUN)
    assert result.code == 2
    assert result.complaint == (
        f"{option}=README.md: not a mamlbench checkpoint; "
        "accepted is a run's folder or a checkpoint file"
    )
    assert files_below(Path()) == ["README.md"]


def test_a_run_that_would_go_on_from_another_file_is_told_no_option(mamlbench, run):
    (run / "checkpoint.pt").write_text("# Read this")
    (run / "summary.json").unlink()
    assert mamlbench(*RUN).complaint == (
        f"checkpoint={run}/checkpoint.pt: not a mamlbench checkpoint; restart=true starts over"
    )


def test_a_checkpoint_of_another_algorithm(mamlbench, run, full_match):
    result = mamlbench(f"checkpoint={run}", "algorithm=meta_sgd")
    assert result.code == 2
    full_match(
        rf"checkpoint={re.escape(str(run))}/.*\.pt: is from another algorithm or other options: "
        r"it lacks rates\.0, which this config's learner has; accepted is a checkpoint of this "
        r"config's algorithm",
        result.complaint,
    )


def test_a_checkpoint_of_another_architecture(mamlbench, run, full_match):
    result = mamlbench(f"checkpoint={run}", "network.hidden=[9]")
    assert result.code == 2
    full_match(
        rf"checkpoint={re.escape(str(run))}/checkpoint\.pt: has another architecture: it has .*"
        r" of shape \[8, 1\], this config's learner \[9, 1\]",
        result.complaint,
    )


@pytest.mark.parametrize(
    "override",
    [
        "algorithm._target_=subprocess.Popen",
        "++analysis={_target_:subprocess.Popen,args:[touch,exploded]}",
        "++analysis={a:[{_target_:subprocess.Popen}]}",
        "dataset=../../../somewhere/evil",
    ],
)
def test_a_checkpoint_names_no_class(mamlbench, run, override):
    state = checkpoint.load(run / "best.pt")
    checkpoint.save(Path("hostile.pt"), {**state, "overrides": [override]})
    result = mamlbench("checkpoint=hostile.pt")
    assert result.code == 2
    assert result.complaint.startswith(
        f"checkpoint=hostile.pt: was made with {override}, which names a class or "
    )
    assert not Path("exploded").exists()


@pytest.mark.parametrize("override", ["--config-dir=/evil", "-m", "--multirun"])
def test_a_checkpoint_gives_no_flags(mamlbench, run, override):
    state = checkpoint.load(run / "best.pt")
    checkpoint.save(Path("hostile.pt"), {**state, "overrides": [override]})
    result = mamlbench("checkpoint=hostile.pt")
    assert result.code == 2
    made_with = f"was made with {override}, which is not an override"
    assert result.complaint == f"checkpoint=hostile.pt: {made_with}"


# --- the disk -------------------------------------------------------------------------------------


def test_outputs_below_a_file(mamlbench):
    Path("taken").write_text("a file")
    result = mamlbench("outputs=taken", *RUN)
    assert result.code == 2
    assert result.complaint.startswith("cannot write taken/default/")
    assert result.complaint.endswith(
        ": not writable, a part of its path is a file and not a folder"
    )
    assert files_below(Path()) == ["taken"]


def test_a_read_only_disk(mamlbench, disk):
    folder = disk("ro")
    result = mamlbench(f"outputs={folder}", *RUN)
    assert result.code == 2
    assert result.complaint.startswith(f"cannot write {folder}/default/")
    assert result.complaint.endswith(": not writable, the file system is read-only")


def test_a_disk_that_fills_up(mamlbench, small_disk, monkeypatch):
    line = [f"outputs={small_disk}", *RUN, "training.iterations=6", "training.checkpoint_every=2"]
    save = Trainer.save

    def save_on_a_fuller_disk(trainer):
        if trainer.iteration == 4:
            ballast.write_bytes(b"x" * 10_000_000)
        save(trainer)

    class Ballast:
        """Fills the disk."""

        path = small_disk / "ballast"

        def write_bytes(self, data):
            with suppress(OSError), self.path.open("wb", buffering=0) as file:
                for _ in range(len(data) // 1000):
                    file.write(data[:1000])

    ballast = Ballast()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", save_on_a_fuller_disk)
        result = mamlbench(*line)
    assert result.code == 2
    [path] = small_disk.rglob("checkpoint.pt")
    assert result.complaint == f"cannot write {path}: the disk is full"
    assert checkpoint.load(path)["iteration"] == 2

    ballast.path.unlink()
    assert mamlbench(*line).code == 0
    [summary] = small_disk.rglob("summary.json")
    assert mamlbench(*line[1:], "outputs=elsewhere").code == 0
    [undisturbed] = Path("elsewhere").rglob("summary.json")
    assert json.loads(summary.read_text())["test"] == json.loads(undisturbed.read_text())["test"]


@pytest.mark.parametrize("flag", ["--config-dir=my_conf", "hydra.searchpath=[file://my_conf]"])
@pytest.mark.parametrize("name", ["preset/maml_sinusoid", "algorithm/maml", "config"])
def test_a_file_of_ones_own_with_a_name_of_ours(mamlbench, name, flag):
    """Hydra would use mamlbench's file, but the run would seem to have used the user's."""
    own = Path("my_conf") / f"{name}.yaml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("inner_lr: 0.7\n")
    result = mamlbench(flag, *RUN)
    assert result.code == 2
    expected = "mamlbench has a file of this name, which takes precedence; accepted is another name"
    assert result.err == f"mamlbench: {own}: {expected}\n"


def test_a_choice_of_ones_own_without_its_folder(mamlbench):
    result = mamlbench("dataset=oval")
    assert result.code == 2
    assert result.err.endswith("; one of your own needs --config-dir=FOLDER\n")
