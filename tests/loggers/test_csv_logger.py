import io
import math

import pandas as pd
import pytest

from mamlbench.errors import UserError
from mamlbench.loggers import CSVLogger, RunInfo


def run_info(folder, iteration=0):
    return RunInfo(folder, "a run", "abc-0", {}, iteration, 100)


def write(folder, rows, iteration=0):
    logger = CSVLogger()
    logger.start(run_info(folder, iteration))
    for at, metrics in rows:
        logger.log(at, metrics)
    logger.close()
    return folder / "metrics.csv"


def row(at):
    metrics = {"train/loss": 1 / at}
    if at >= 3:
        metrics["val/accuracy"] = at / 7
    return at, metrics


def test_a_late_column_is_blank_above_and_values_read_back_exactly(tmp_path):
    path = write(tmp_path, [row(at) for at in (1, 2, 3)])
    assert path.read_text() == (
        "iteration,train/loss,val/accuracy\n"
        "1,1.0,\n"
        "2,0.5,\n"
        "3,0.3333333333333333,0.42857142857142855\n"
    )
    assert float("0.3333333333333333") == 1 / 3
    frame = pd.read_csv(path)
    assert frame["iteration"].tolist() == [1, 2, 3]
    assert frame["train/loss"].tolist() == pytest.approx([1.0, 0.5, 1 / 3], rel=1e-15)
    assert frame["val/accuracy"].isna().tolist() == [True, True, False]


def test_a_metric_left_out_is_blank_and_odd_values_read_back(tmp_path):
    rows = [(0, {"a": math.nan, "b": -math.inf}), (10, {"b": 1e-30})]
    frame = pd.read_csv(write(tmp_path, rows))
    assert frame["iteration"].tolist() == [0, 10]
    assert frame["a"].isna().all()
    assert frame["b"].tolist() == [-math.inf, 1e-30]


def test_a_row_is_in_the_file_when_log_returns(tmp_path):
    logger = CSVLogger()
    logger.start(run_info(tmp_path))
    logger.log(5, {"a": 1.0})
    assert (tmp_path / "metrics.csv").read_text() == "iteration,a\n5,1.0\n"
    with pytest.raises(ValueError, match="iteration 5 logged after iteration 5"):
        logger.log(5, {"a": 1.0})
    logger.close()


@pytest.mark.parametrize("torn", [0, 1, 5, 22])
@pytest.mark.parametrize("checkpoint", range(1, 7))
def test_continued_from_any_checkpoint_it_equals_the_undisturbed_file(tmp_path, checkpoint, torn):
    undisturbed = write(tmp_path / "a", [row(at) for at in range(1, 7)]).read_bytes()
    path = write(tmp_path / "b", [row(at) for at in range(1, 7)])
    if checkpoint < 6:
        path.write_bytes(undisturbed[: len(undisturbed) - torn])
    write(tmp_path / "b", [row(at) for at in range(checkpoint + 1, 7)], iteration=checkpoint)
    assert path.read_bytes() == undisturbed


@pytest.mark.parametrize("before", [None, b"", b"iteration,tra"])
def test_continued_where_no_row_was_written_yet(tmp_path, before):
    if before is not None:
        (tmp_path / "metrics.csv").write_bytes(before)
    path = write(tmp_path, [(9, {"a": 2.0})], iteration=8)
    assert path.read_text() == "iteration,a\n9,2.0\n"


def test_a_fresh_run_begins_the_file_anew(tmp_path):
    write(tmp_path, [(1, {"old": 1.0})])
    path = write(tmp_path, [(1, {"new": 2.0})])
    assert path.read_text() == "iteration,new\n1,2.0\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"time,loss\n1,2\n", 1),
        (b"\n1,2\n", 1),
        (b"iteration,loss\n1,2\n2\n3,4\n", 3),
        (b"iteration,loss\nx,2\n", 2),
    ],
)
def test_a_damaged_file_is_not_silently_cut(tmp_path, content, line):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"metrics.csv: line {line} is damaged; restart=true"):
        CSVLogger().start(run_info(tmp_path, 5))
    assert path.read_bytes() == content


def test_bytes_that_are_no_text_are_reported(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(b"\xff\xfe\n\n")
    with pytest.raises(UserError, match=r"metrics\.csv: cannot be read as a log to continue"):
        CSVLogger().start(run_info(tmp_path, 5))


def test_a_row_that_the_disk_takes_only_in_part_is_taken_back(tmp_path, monkeypatch):
    logger = CSVLogger()
    logger.start(run_info(tmp_path))
    logger.log(1, {"a": 1.0})
    path = tmp_path / "metrics.csv"

    class FullAfterTwoBytes(io.FileIO):
        def write(self, data):
            if len(data) > 3:
                return super().write(data[:2])
            raise OSError(28, "No space left on device")

    logger.close()
    with FullAfterTwoBytes(path, "a") as file:
        logger._file = file
        with pytest.raises(UserError, match=f"cannot write {path}: the disk is full"):
            logger.log(2, {"a": 2.0})
    assert path.read_text() == "iteration,a\n1,1.0\n"
