import errno
import json
import os
import stat
from pathlib import Path

import pytest

from mamlbench.errors import UserError
from mamlbench.files import remove_leftovers, write_atomically, write_json


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_writes_text_and_bytes_and_missing_folders(tmp_path):
    path = tmp_path / "new" / "deeper" / "file.txt"
    write_atomically(path, "± 0.1\n")
    assert path.read_bytes() == b"\xc2\xb1 0.1\n"
    write_atomically(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["file.txt"]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    write_atomically(tmp_path / "ours", "")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("instant", ["fsync", "replace"])
def test_stopped_before_the_replacement_the_old_file_stays(tmp_path, monkeypatch, instant):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def stop(*arguments):
        raise Killed

    owner = os if instant == "fsync" else Path
    with monkeypatch.context() as patch:
        patch.setattr(owner, instant, stop)
        with pytest.raises(Killed):
            write_atomically(path, "new, and longer")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_killed_for_good_between_write_and_replacement(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old")
    child = os.fork()
    if child == 0:
        Path.replace = lambda self, target: os._exit(9)
        write_atomically(path, "new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "not writable, permission denied"),
        (errno.EROFS, "not writable, the file system is read-only"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_what_the_disk_refuses_is_one_line_that_names_the_file(
    tmp_path, monkeypatch, number, reason
):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(UserError) as caught:
            write_atomically(path, "new")
    assert str(caught.value) == f"cannot write {path}: {reason}"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="a part of its path is a file and not a folder"):
        write_atomically(tmp_path / "taken" / "file", "new")


def test_json_is_valid_even_with_numbers_that_json_lacks(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"a": float("nan"), "b": [float("-inf"), 0.1], "c": {"d": (1, None, "x")}})
    expected = {"a": None, "b": [None, 0.1], "c": {"d": [1, None, "x"]}}
    assert json.loads(path.read_text()) == expected
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("place", [".", "/"])
def test_a_folder_is_no_file(place):
    with pytest.raises(UserError, match=r"^cannot write [./]: not writable, it is a folder$"):
        write_atomically(Path(place), "text")
