import csv
import json
import logging
import math
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from mamlbench.errors import BadValue
from mamlbench.loggers import CSVLogger, Loggers, RunInfo, WandBLogger


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """A user who is not logged in, even if this machine's user is."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_SILENT", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "false")  # so that monkeypatch undoes what the logger sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


def run_info(folder, iteration=0):
    return RunInfo(folder, "a run", "abc-0", {"algorithm": {"inner_lr": 0.4}}, iteration, 100)


class Recorder:
    """Stands in for the wandb package: records calls, and fails or hangs at given places."""

    def __init__(self, last_step=-1, error=None, hangs=None):
        self.error, self.hangs, self.step, self.url = error, hangs, last_step + 1, None
        self.asked, self.modes, self.rows, self.ended, self.summary = {}, [], [], [], {}
        self.released, self.torn_down = threading.Event(), threading.Event()
        self.module = types.ModuleType("wandb")
        self.module.init = self.init
        self.module.teardown = self.torn_down.set
        self.module.Settings = dict

    def at(self, place):
        if self.error == place:
            raise RuntimeError("no answer\nwithin 60 s")
        if self.hangs == place:
            self.released.wait()

    def init(self, **asked):
        self.modes.append(asked["settings"]["mode"])
        if self.modes[-1] == "online":
            self.at("init")
        self.asked = asked
        return self

    def log(self, row, step, commit):
        self.at("log")
        self.rows.append((step, row))
        self.step = step + 1

    def finish(self, exit_code):
        self.at("finish")
        self.ended.append(exit_code)


@pytest.fixture
def recorder(monkeypatch):
    made = []

    def install(**kwargs):
        made.append(Recorder(**kwargs))
        monkeypatch.setitem(sys.modules, "wandb", made[-1].module)
        return made[-1]

    yield install
    for fake in made:
        fake.released.set()


def read_with_wandb(folder: Path) -> list[dict]:
    """Records of the only offline run below `folder`, printed by W&B's own reader."""
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def test_an_offline_run_read_back_by_wandb_equals_the_csv(tmp_path):
    with Loggers([CSVLogger(), WandBLogger(mode="offline", project="p", tags=["t"])]) as loggers:
        loggers.start(run_info(tmp_path))
        for at in range(10, 60, 10):
            metrics = {"train/loss": 1 / at, "tasks_per_second": 1e5 / 3}
            loggers.log(at, metrics | ({"val/accuracy": at / 77} if at % 20 == 0 else {}))
        loggers.finish({"test": {"accuracy": {"mean": 0.987, "n_tasks": 600}}})
    records = read_with_wandb(tmp_path)

    (run,) = [record["run"] for record in records if record["type"] == "run"]
    assert (run["run_id"], run["display_name"], run["project"]) == ("abc-0", "a run", "p")
    assert run["tags"] == ["t"]
    assert run["config"]["update"]["algorithm"] == {"inner_lr": 0.4}

    items = [record["history"]["item"] for record in records if record["type"] == "history"]
    ours = [
        {k: v for k, v in item.items() if not k.startswith("_") or k == "_step"} for item in items
    ]
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    theirs = [
        {"_step" if k == "iteration" else k: float(v) for k, v in row.items() if v} for row in rows
    ]
    assert len(rows) == 5
    assert ours == theirs

    updates = [record["summary"]["update"] for record in records if record["type"] == "summary"]
    assert any("0.987" in json.dumps(update) for update in updates)
    assert [record["exit"]["exit_code"] for record in records if record["type"] == "exit"] == [0]


def test_values_that_are_not_finite_do_not_stop_it(tmp_path, caplog):
    with Loggers([WandBLogger(mode="offline")]) as loggers:
        loggers.start(run_info(tmp_path))
        loggers.log(1, {"train/loss": math.nan})
        loggers.log(2, {"train/loss": math.inf})
    histories = [record for record in read_with_wandb(tmp_path) if record["type"] == "history"]
    assert [record["history"]["item"]["_step"] for record in histories] == [1, 2]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("environment", "netrc", "mode"),
    [
        ({}, "", None),
        ({"WANDB_API_KEY": "k"}, "", "online"),
        ({}, "machine api.wandb.ai login user password k", "online"),
        ({}, "machine other.org login user password k", None),
        ({"WANDB_BASE_URL": "https://lab.org"}, "machine lab.org login u password k", "online"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "", "offline"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "", None),
        ({}, "machine not a netrc at all", None),
    ],
)
def test_auto_logs_online_where_the_user_is_logged_in(
    tmp_path, monkeypatch, recorder, environment, netrc, mode
):
    fake = recorder()
    (tmp_path / "netrc").write_text(netrc)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Loggers([WandBLogger()]) as loggers:
        loggers.start(run_info(tmp_path))
    assert fake.asked.get("settings", {}).get("mode") == mode


@pytest.mark.parametrize("mode", ["auto", "disabled"])
def test_out_of_the_way_nothing_is_imported_or_written(tmp_path, monkeypatch, mode):
    monkeypatch.setitem(sys.modules, "wandb", None)  # makes importing wandb raise
    with Loggers([WandBLogger(mode=mode)]) as loggers:
        loggers.start(run_info(tmp_path))
        loggers.log(1, {"train/loss": 1.0})
        loggers.finish({})
    assert list(tmp_path.iterdir()) == []


def test_a_continued_run_keeps_its_id_and_sends_no_row_twice(tmp_path, recorder):
    fake = recorder(last_step=30)
    logger = WandBLogger(mode="online", entity="lab", group="g", timeout=7)
    logger.start(run_info(tmp_path, iteration=20))
    for at in (25, 30, 35):
        logger.log(at, {"train/loss": float(at)})
    logger.close()
    assert fake.asked["id"] == "abc-0"
    assert fake.asked["resume"] == "allow"
    assert (fake.asked["entity"], fake.asked["group"]) == ("lab", "g")
    assert fake.asked["dir"] == tmp_path
    assert fake.asked["settings"]["init_timeout"] == fake.asked["settings"]["finish_timeout"] == 7
    assert fake.rows == [(35, {"train/loss": 35.0})]


@pytest.mark.parametrize(("last_step", "first"), [(-1, 10), (15, 20)])
def test_rows_from_before_it_was_continued_are_sent_first(tmp_path, recorder, last_step, first):
    """The user was not logged in before, or W&B failed after `last_step`."""
    rows = "iteration,train/loss,val/a\n10,10.0,\n20,20.0,0.5\n30,30.0,\n40,40.0,\n"
    (tmp_path / "metrics.csv").write_text(rows)
    fake = recorder(last_step=last_step)
    logger = WandBLogger(mode="online")
    with Loggers([CSVLogger(), logger]) as loggers:
        loggers.start(run_info(tmp_path, iteration=30))
        loggers.log(40, {"train/loss": 4.0})
    assert [step for step, _ in fake.rows] == list(range(first, 50, 10))
    assert dict(fake.rows)[20] == {"train/loss": 20.0, "val/a": 0.5}
    assert dict(fake.rows)[40] == {"train/loss": 4.0}
    assert logger.first_step == last_step + 1


def test_a_run_that_is_continued_offline_is_whole_for_wandb(tmp_path):
    (tmp_path / "metrics.csv").write_text("iteration,a\n10,1.0\n20,2.0\n")
    with Loggers([CSVLogger(), WandBLogger(mode="offline")]) as loggers:
        loggers.start(run_info(tmp_path, iteration=20))
        loggers.log(30, {"a": 3.0})
    histories = [record for record in read_with_wandb(tmp_path) if record["type"] == "history"]
    rows = [record["history"]["item"] for record in histories]
    assert [(row["_step"], row["a"]) for row in rows] == [(10, 1.0), (20, 2.0), (30, 3.0)]


def test_a_run_begun_anew_replaces_the_old_one(tmp_path, recorder):
    fake = recorder()
    with Loggers([WandBLogger(mode="online")]) as loggers:
        loggers.start(run_info(tmp_path))
    assert fake.asked["resume"] is None


@pytest.mark.parametrize(("summary", "code"), [({"test": 1}, 0), (None, 1)])
def test_only_a_finished_run_is_shown_as_finished(tmp_path, recorder, summary, code):
    fake = recorder()
    with Loggers([WandBLogger(mode="online")]) as loggers:
        loggers.start(run_info(tmp_path))
        loggers.finish(summary)
    assert fake.ended == [code]
    assert fake.summary == (summary or {})


def test_an_error_in_training_ends_the_wandb_run(tmp_path, recorder):
    fake = recorder()
    loggers = Loggers([WandBLogger(mode="online")])
    loggers.start(run_info(tmp_path))
    with pytest.raises(ZeroDivisionError), loggers:
        raise ZeroDivisionError
    assert fake.ended == [1]


def the_warning(caplog):
    """The only warning."""
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    return warning.getMessage()


@pytest.mark.parametrize("where", ["log", "finish"])
def test_a_failing_wandb_is_left_out_after_one_warning(tmp_path, recorder, caplog, where):
    fake = recorder(error=where)
    logger = WandBLogger(mode="online")
    with Loggers([logger]) as loggers:
        loggers.start(run_info(tmp_path))
        loggers.log(1, {"a": 1.0})
        loggers.log(2, {"a": 1.0})
        loggers.finish({})
    assert the_warning(caplog) == (
        "W&B does not get this run: the run goes on without it (no answer); "
        f"`mamlbench-sync {tmp_path}` completes it later"
    )
    assert logger.failure == "no answer"
    assert fake.torn_down.wait(10)


def test_what_does_not_answer_at_the_start_is_logged_offline(tmp_path, recorder, caplog):
    fake = recorder(error="init")
    with Loggers([WandBLogger(mode="online")]) as loggers:
        loggers.start(run_info(tmp_path))
        loggers.log(1, {"a": 1.0})
        loggers.finish({"test": 1})
    assert the_warning(caplog).startswith(
        "W&B does not get this run: it is logged offline (no answer); `mamlbench-sync "
    )
    assert fake.modes == ["online", "offline"]
    assert fake.rows == [(1, {"a": 1.0})]
    assert fake.ended == [0]
    assert fake.summary == {"test": 1}


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_wandb_that_hangs_holds_up_no_training_and_no_end(tmp_path, recorder, caplog, where):
    fake = recorder(hangs=where)
    began = time.monotonic()
    with Loggers([CSVLogger(), WandBLogger(mode="online", timeout=0.2)]) as loggers:
        loggers.start(run_info(tmp_path))
        for at in range(1, 1001):
            loggers.log(at, {"a": 1.0})
        assert not caplog.records
        loggers.finish({})
    assert time.monotonic() - began < 10
    assert "(no answer within 0.4 s)" in the_warning(caplog)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1001
    assert fake.ended == []


def test_a_run_that_is_stopped_waits_less_for_it(tmp_path, recorder, caplog, monkeypatch):
    recorder(hangs="log")
    monkeypatch.setattr("mamlbench.loggers.wandb_logger._STOPPING_SECONDS", 0.1)
    with Loggers([WandBLogger(mode="online", timeout=1000)]) as loggers:
        loggers.start(run_info(tmp_path))
        loggers.log(1, {"a": 1.0})
        loggers.finish(None)
    assert "(no answer within 0.1 s)" in the_warning(caplog)


def test_what_is_sent_afterwards_has_its_own_time(tmp_path, recorder, caplog):
    recorder(hangs="log")
    logger = WandBLogger(mode="online", timeout=0.1)
    logger.start(run_info(tmp_path))
    logger.log(1, {"a": 1.0})
    logger.close_when_sent()
    assert "(no answer within 0.2 s)" in the_warning(caplog)


@pytest.mark.slow
def test_a_server_that_never_answers(tmp_path):
    """The real W&B client with a server that accepts connections and never answers."""
    script = (
        "import sys; from pathlib import Path\n"
        "from mamlbench.loggers import RunInfo, WandBLogger\n"
        "logger = WandBLogger(mode='online', timeout=2)\n"
        "logger.start(RunInfo(Path(sys.argv[1]), 'r', 'abc-0', {}, 0, 10))\n"
        "logger.log(1, {'a': 1.0})\n"
        # longer than W&B needs to notice that the server does not answer, like real training
        "logger._thread.wait(60); logger.finish({'test': 5}); logger.close(); print('done')\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {
            "WANDB_API_KEY": "a" * 40,
            "WANDB_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
    assert (done.returncode, done.stdout) == (0, "done\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("W&B does not get this run: it is logged offline (Timed out ")
    records = read_with_wandb(tmp_path)
    (row,) = [record["history"]["item"] for record in records if record["type"] == "history"]
    assert (row["_step"], row["a"]) == (1, 1.0)
    assert [record["exit"]["exit_code"] for record in records if record["type"] == "exit"] == [0]


def test_unusable_options_are_named():
    with pytest.raises(BadValue, match=r"mode=onlin: .*did you mean 'online'"):
        WandBLogger(mode="onlin")
    with pytest.raises(BadValue, match="timeout=0: accepted is more than 0"):
        WandBLogger(timeout=0)
