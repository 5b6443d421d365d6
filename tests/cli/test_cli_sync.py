"""`mamlbench-sync`: sends runs on disk to W&B, or completes them there."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import runs

from mamlbench.cli.sync import main
from mamlbench.compose import experiment
from mamlbench.locks import only_one
from mamlbench.loggers import WandBLogger, sync


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was logged without W&B."""
    outputs = tmp_path_factory.mktemp("finished")
    options = ["training.iterations=6", "training.log_every=2", "training.validate_every=4"]
    run = experiment(runs.overrides(outputs, "maml", "sinusoid", *options))
    with runs.without_figures():
        run.run()
    return run


@pytest.fixture
def run(finished, tmp_path):
    """The folder of a copy of the finished run."""
    outputs = Path(finished.options.outputs)
    shutil.copytree(outputs, tmp_path / "outputs")
    return tmp_path / "outputs" / finished.folder.path.relative_to(outputs)


@pytest.fixture
def sent(monkeypatch):
    """What W&B would get: `(id, iteration)` for each row, `(id, summary)` for each end."""
    got = []

    class Server:
        fails_on = ""

    def start(self, info):
        self.id, self.told = info.run_id, info

    def log(self, iteration, metrics):
        got.append((self.id, iteration))

    def finish(self, summary):
        if self.id == Server.fails_on:
            self.failure = "no answer"
        got.append((self.id, summary))

    monkeypatch.setattr(WandBLogger, "start", start)
    monkeypatch.setattr(WandBLogger, "log", log)
    monkeypatch.setattr(WandBLogger, "finish", finish)
    monkeypatch.setattr(WandBLogger, "close", lambda self: None)
    return got, Server


def records(folder: Path) -> list[dict]:
    """The records of the only offline run in a run's folder, printed by W&B's own reader."""
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("is_finished", [True, False])
def test_what_wandb_reads_back_is_what_the_run_left(run, finished, capsys, is_finished):
    summary = json.loads((run / "summary.json").read_text())
    if not is_finished:
        (run / "summary.json").unlink()
        with (run / "metrics.csv").open("a") as file:
            file.write("8,0.")  # killed in the middle of a row
    assert main([str(run), "--mode", "offline"]) == 0
    id_ = f"{finished.name.hash}-seed0"
    state = "finished" if is_finished else "unfinished"
    assert capsys.readouterr().out == f"{run}: written below it as {id_} (3 rows, {state})\n"

    found = records(run)
    (opened,) = [record["run"] for record in found if record["type"] == "run"]
    assert (opened["run_id"], opened["display_name"]) == (id_, finished.name.label)
    config = opened["config"]["update"]
    assert config["algorithm"]["inner_lr"] == finished.config["algorithm"]["inner_lr"]
    assert "about" not in config
    items = [record["history"]["item"] for record in found if record["type"] == "history"]
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["iteration"]) <= 6]
    assert [item["_step"] for item in items] == [2, 4, 6]
    for item, row in zip(items, rows, strict=True):
        logged = {name: value for name, value in item.items() if not name.startswith("_")}
        assert logged == {k: float(v) for k, v in row.items() if v and k != "iteration"}
    exits = [record["exit"]["exit_code"] for record in found if record["type"] == "exit"]
    assert exits == [0 if is_finished else 1]
    updates = json.dumps([record["summary"] for record in found if record["type"] == "summary"])
    assert (str(summary["test"]["mse"]["mean"]) in updates) == is_finished


def test_a_run_is_told_to_wandb_as_it_told_itself(run, finished):
    own = finished._run_info(SimpleNamespace(iteration=6))
    told = sync.KeptRun.read(run).run_info
    assert (told.run_id, told.name) == (own.run_id, own.name)
    assert told.iterations == own.iterations
    assert json.dumps(told.config) == json.dumps({**own.config})


def _unfinished(folder):
    (folder / "summary.json").unlink()


def test_a_run_that_is_kept_elsewhere_is_still_the_same(run, finished):
    kept = run.parents[5] / "reference" / "mine"
    shutil.copytree(run, kept)
    own = finished._run_info(SimpleNamespace(iteration=6))
    told = sync.KeptRun.read(kept).run_info
    assert (told.run_id, told.name, told.directory) == (own.run_id, own.name, kept)


def test_where_it_was_run_its_path_tells_an_unfinished_run(run, finished):
    """The hash is not recomputed: another version of mamlbench may have had other options."""
    _unfinished(run)
    with (run / "config.yaml").open("a") as file:
        file.write("another_option: 1\n")
    own = finished._run_info(SimpleNamespace(iteration=6))
    told = sync.KeptRun.read(run).run_info
    assert (told.run_id, told.name) == (own.run_id, own.name)


def test_what_nothing_tells_the_id_of_is_left_out(run, sent, capsys):
    kept = run.parent / "mine"
    shutil.copytree(run, kept)
    _unfinished(kept)
    assert main([str(kept), str(run), "--mode", "offline"]) == 2
    assert {entry[0] for entry in sent[0]} == {f"{run.parent.name}-seed0"}
    printed = capsys.readouterr()
    told = f"mamlbench-sync: {kept}: left out: neither summary.json nor its path gives its hash "
    assert printed.err.startswith(told)
    assert printed.err.count("\n") == 1
    assert printed.out.count("\n") == 1


def test_every_run_below_is_sent_and_a_damaged_one_stops_no_other(run, sent, capsys):
    got, server = sent
    for seed in (1, 2):
        other = shutil.copytree(run, run.with_name(f"seed{seed}"))
        summary = json.loads((other / "summary.json").read_text())
        (other / "summary.json").write_text(json.dumps({**summary, "seed": seed}))
    (run / "config.yaml").write_text("{")
    id_ = run.parent.name
    server.fails_on = f"{id_}-seed2"
    assert main([str(run.parents[4]), "--mode", "offline"]) == 2
    assert [entry[0] for entry in got if isinstance(entry[1], dict)] == [
        f"{id_}-seed1",
        f"{id_}-seed2",
    ]
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    errors = printed.err.splitlines()
    assert errors[0].startswith(f"mamlbench-sync: {run}/config.yaml: cannot be read: ")
    assert errors[1].endswith("seed2: W&B did not accept it: no answer")


def test_a_dry_run_sends_nothing(run, sent, capsys):
    before = runs.files_below(run)
    assert main([str(run), "--dry-run"]) == 0
    assert sent[0] == []
    assert runs.files_below(run) == before
    assert "would be sent as" in capsys.readouterr().out


def test_a_run_that_is_going_on_is_left_to_itself(run, sent, capsys):
    with only_one(run / ".lock", "it"):
        assert main([str(run), "--mode", "offline"]) == 2
    assert sent[0] == []
    assert re.match(
        rf"mamlbench-sync: {run}: process \d+ on .* is working", capsys.readouterr().err
    )


def test_what_was_sent_is_marked_for_wandb_sync(run, sent, monkeypatch):
    log = run / "wandb" / "offline-run-1" / "run-1.wandb"
    log.parent.mkdir(parents=True)
    log.touch()
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert main([str(run)]) == 0
    assert log.with_name("run-1.wandb.synced").is_file()


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_what_the_environment_says_of_runs_does_not_keep_it_from_sending(
    run, sent, monkeypatch, mode
):
    monkeypatch.setenv("WANDB_MODE", mode)
    assert main([str(run)]) == 2
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert main([str(run)]) == 0
    assert [entry[1] for entry in sent[0]][:3] == [2, 4, 6]


@pytest.mark.parametrize(("first_step", "rows"), [(0, "3 rows"), (3, "2 of 3 rows")])
def test_rows_that_wandb_takes_no_more_are_told_of(
    run, sent, monkeypatch, capsys, first_step, rows
):
    start = WandBLogger.start

    def continued(self, info):
        start(self, info)
        self.first_step = first_step

    monkeypatch.setattr(WandBLogger, "start", continued)
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert main([str(run)]) == 0
    told = capsys.readouterr().out
    assert f"({rows}, finished)" in told
    assert ("W&B already has later rows and refuses the others" in told) == (first_step > 0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda run: [str(run)], "W&B: not logged in; accepted is `wandb login` or WANDB_API_KEY;"),
        (lambda run: [str(run / "figures")], "no runs in it; accepted is a run's folder"),
        (lambda run: [str(run), str(run / "missing")], "missing: there is no such folder"),
    ],
)
def test_mistakes_are_one_line(run, capsys, make, says):
    (run / "figures").mkdir()
    assert main(make(run)) == 2
    line = capsys.readouterr().err
    assert line.startswith("mamlbench-sync: ")
    assert says in line
    assert line.count("\n") == 1
