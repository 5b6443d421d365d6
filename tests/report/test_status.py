"""The states of runs, from their files and a stand-in for squeue."""

import json
import os
import signal
from pathlib import Path

import pytest
import runs

from mamlbench.compose import experiment
from mamlbench.errors import Pruned, UserError
from mamlbench.report import progress
from mamlbench.report.sheets import markdown_table
from mamlbench.report.status import Row, collect, show
from mamlbench.run.signals import Stopped
from mamlbench.run.status import recorded
from mamlbench.slurm.submitted import SubmittedCell, keep, log_of, new_folder


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """An outputs folder that does not exist yet, on a machine without SLURM."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "outputs"


def squeue(outputs: Path, *lines: str) -> None:
    text = "#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines)
    (outputs.parent / "bin/squeue").write_text(text)
    (outputs.parent / "bin/squeue").chmod(0o755)


def run_folder(outputs: Path, name: str, rows: int = 0) -> Path:
    """A run of 400 iterations of 5 tasks, logged every tenth iteration at 50 tasks a second."""
    folder = outputs / "default" / name / "seed0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("training: {iterations: 400, meta_batch_size: 5}\n")
    log = "".join(f"{10 * n},0.5,50.0\n" for n in range(1, rows + 1))
    (folder / "metrics.csv").write_text(f"iteration,train/loss,tasks_per_second\n{log}12")
    return folder


def submit(outputs: Path, *folders: Path | None) -> list[SubmittedCell]:
    place = new_folder(outputs / ".sweep")
    cells = [
        SubmittedCell(f"7_{n}", (f"seed={n}",), folder, log_of(place, f"7_{n}"))
        for n, folder in enumerate(folders)
    ]
    keep(place, cells)
    return cells


def write_status(folder: Path, **status: object) -> None:
    (folder / "status.json").write_text(json.dumps(status))


def ends(folder: Path, error: BaseException, meanwhile=lambda: True) -> None:
    """End a run with an error; `meanwhile` must hold before that."""
    with recorded(folder):
        assert meanwhile()
        raise error


def test_nothing_is_there(outputs):
    with pytest.raises(UserError, match=f"^{outputs}: there is no such folder; accepted is"):
        show(outputs)
    outputs.mkdir()
    assert show(outputs) == f"no runs in {outputs}\n"


def test_a_run_tells_that_it_works_and_what_ended_it(outputs):
    folder = run_folder(outputs, "a", rows=20)
    now = (folder / "metrics.csv").stat().st_mtime + 1e6
    os.utime(folder / "metrics.csv", (now, now))
    # 200 of 400 iterations are left, with 5 tasks each, at 50 tasks a second
    working = Row("running", "default/a/seed0", "", "200/400", "0:00:20", "")
    with pytest.raises(Stopped):
        ends(folder, Stopped(signal.SIGTERM, 204), lambda: collect(outputs) == [working])
    content = (folder / "metrics.csv").read_bytes()
    for spoilt in (b"\xff" + content, content.replace(b",50", b",fast")):
        (folder / "metrics.csv").write_bytes(spoilt)
        with pytest.raises(Stopped):
            ends(
                folder, Stopped(signal.SIGTERM, 204), lambda: collect(outputs)[0].state == "running"
            )
    note = "stopped by SIGTERM; the same command continues it"
    assert collect(outputs) == [Row("preempted", "default/a/seed0", "", "204/400", "", note)]

    with pytest.raises(UserError):
        ends(folder, UserError("no data"))
    assert collect(outputs)[0].note == "no data"
    with pytest.raises(ZeroDivisionError):
        ends(folder, ZeroDivisionError("division by zero"))
    assert collect(outputs)[0].note == "ZeroDivisionError: division by zero"
    assert collect(outputs)[0].state == "failed"

    with pytest.raises(Pruned):
        ends(folder, Pruned("pruned at iteration 204: val/mse 3"))
    pruned = collect(outputs)[0]
    assert (pruned.state, pruned.note) == ("pruned", "pruned at iteration 204: val/mse 3")

    with recorded(folder):
        (folder / "summary.json").write_text("{}")
        assert collect(outputs)[0].state == "running"  # started again
    assert not (folder / "status.json").exists()
    assert collect(outputs) == [Row("finished", "default/a/seed0")]


def test_a_run_whose_process_is_gone_has_failed(outputs):
    folder = run_folder(outputs, "a")
    with recorded(folder):
        killed = json.loads((folder / "status.json").read_text())
    with pytest.raises(KeyboardInterrupt):
        ends(folder, KeyboardInterrupt())
    assert collect(outputs)[0].note == "stopped by SIGINT; the same command continues it"
    # its process id now belongs to another process
    write_status(folder, **{**killed, "process_began": "1"})
    assert collect(outputs)[0].state == "failed"
    assert collect(outputs)[0].note == "ended without saying why; the same command continues it"
    write_status(folder, **{**killed, "host": "elsewhere"})
    assert collect(outputs)[0].note == "on elsewhere, according to status.json"


def test_runs_under_slurm(outputs):
    folders = [run_folder(outputs, name, rows=1) for name in "abcdefg"]
    cells = submit(outputs, *folders, None)
    for folder in folders[1:]:
        write_status(folder, state="running", job=f"7_{folders.index(folder)}", host="node1")
    write_status(folders[3], state="stopped", job="7_3", host="node1", signal="SIGUSR1")
    cells[4].log.write_text("mamlbench x\nOut of memory: killed\nsrun: error: node1: exited\n")
    cells[7].log.write_text("mamlbench: shots=-1: accepted is 1 or more\n")
    squeue(
        outputs,
        *("7_0|PENDING|Resources|4:00", "7_1|RUNNING|None|3:20", "7_2|PENDING|BeginTime|4:00"),
        *("7_3|COMPLETING|None|2:00", "7_4|OUT_OF_MEMORY|None|2:00", "7_5|CANCELLED|None|2:00"),
        "7_7|FAILED|None|2:00",
    )
    found = {row.run: (row.state, row.job, row.note) for row in collect(outputs)}
    goes_on = "the same command continues it"
    assert found == {
        "default/a/seed0": ("queued", "7_0", "Resources"),
        "default/b/seed0": ("running", "7_1", "time limit in 3:20"),
        "default/c/seed0": ("preempted", "7_2", "queued again: BeginTime"),
        "default/d/seed0": ("preempted", "7_3", f"stopped by SIGUSR1; {goes_on}"),
        "default/e/seed0": ("failed", "7_4", "OUT_OF_MEMORY: Out of memory: killed"),
        "default/f/seed0": ("failed", "7_5", "CANCELLED: ended without saying why"),
        "default/g/seed0": ("failed", "7_6", "ended without saying why"),  # SLURM has forgotten it
        "seed=7": ("failed", "7_7", "shots=-1: accepted is 1 or more"),
    }


def test_runs_that_were_submitted_elsewhere(outputs):
    folders = [run_folder(outputs, name) for name in "ab"]
    submit(outputs, *folders, None)
    write_status(folders[1], state="running", job="7_1", host="node1")
    nobody = "submitted; its state is unknown without squeue"
    assert [(row.state, row.note) for row in collect(outputs)] == [
        ("queued", nobody),
        ("running", "on node1, according to status.json"),
        ("queued", nobody),
    ]


def test_a_part_of_the_outputs(outputs):
    folders = [run_folder(outputs, name) for name in "ab"]
    submit(outputs, *folders, None)
    squeue(outputs, *(f"7_{n}|PENDING|Priority|4:00" for n in range(3)))
    assert [row.run for row in collect(outputs / "default/a")] == ["default/a/seed0"]
    assert len(collect(outputs)) == 3


def test_a_folder_that_is_not_there_yet(outputs):
    submit(outputs, outputs / "later/a/seed0")
    assert show(outputs / "later").startswith(f"1 run in {outputs}/later: 0 running, 1 queued")


def test_a_run_that_was_submitted_again_is_told_of_by_the_last(outputs):
    folder = run_folder(outputs, "a")
    submit(outputs, folder)
    newest = new_folder(outputs / ".sweep").with_name("slurm-99999999-000000-abcd")
    newest.mkdir()
    keep(newest, [SubmittedCell("9_0", ("seed=0",), folder, log_of(newest, "9_0"))])
    squeue(outputs, "7_0|FAILED|None|4:00", "9_0|PENDING|Priority|4:00")
    assert [(row.state, row.job) for row in collect(outputs)] == [("queued", "9_0")]


def test_the_text(outputs):
    for seed in range(3):
        folder = outputs / f"default/maml/seed{seed}"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text("{}")
    for name in ("mine", "theirs"):
        folder = outputs / "kept" / name
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text("{}")
    submit(outputs, *(outputs / f"default/reptile/seed{seed}" for seed in range(60)))
    squeue(outputs, *(f"7_{n}|PENDING|Priority|4:00" for n in range(60)))
    first, blank, *table, last = show(outputs).splitlines()
    told = "0 running, 60 queued, 0 preempted, 0 failed, 0 pruned, 5 finished"
    assert first == f"65 runs in {outputs}: {told}"
    assert blank == ""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in [*table, last]]
    assert rows[0] == ["state", "run", "job", "iteration", "left", "note"]
    assert rows[2] == ["queued", "default/reptile/seed0", "7_0", "", "", "Priority"]
    assert rows[-3] == ["queued", "and 20 more", "", "", "", ""]
    assert rows[-2:] == [
        ["finished", "default/maml", "", "", "", "3 seeds"],
        ["finished", "kept", "", "", "", "2 runs"],
    ]
    assert table[-1].startswith("| finished | default/maml ")


def test_an_error_of_several_lines_is_one_cell():
    assert markdown_table(["a", "note"], [["1", "x | y\nsecond line"]]).splitlines()[2:] == [
        r"| 1   | x \| y second line |"
    ]


def test_progress_is_told_up_to_a_damaged_row(tmp_path):
    text = "iteration,loss,tasks_per_second\n10,0.5,3.0\n20,0.4,3.0,9\n30,0.4,3.0\n"
    (tmp_path / "metrics.csv").write_text(text)
    assert progress.of(tmp_path).iteration == 10


@pytest.mark.usefixtures("no_figures")
def test_a_real_run_leaves_a_status_only_where_it_did_not_finish(tmp_path, monkeypatch):
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", "training.iterations=2")
    run = experiment(arguments)
    step = run.learner.meta_step

    def stopped(tasks: object) -> object:
        assert collect(tmp_path)[0].state == "running"
        signal.raise_signal(signal.SIGUSR1)
        return step(tasks)

    monkeypatch.setattr(run.learner, "meta_step", stopped)
    with pytest.raises(Stopped):
        run.run()
    [row] = collect(tmp_path)
    assert (row.state, row.iteration) == ("preempted", "1/2")
    experiment(arguments).run()
    assert [row.state for row in collect(tmp_path)] == ["finished"]
    assert "status.json" not in runs.files_below(run.folder.path)
