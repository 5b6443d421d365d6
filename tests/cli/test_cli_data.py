"""`mamlbench-data` as its user sees it."""

import errno
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mamlbench.cli.data import main


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMLBENCH_DATA", str(tmp_path / "data"))
    for split in ("train", "test"):
        for c in range(3):
            folder = tmp_path / "pictures" / split / f"{split}{c}"
            folder.mkdir(parents=True)
            for i in range(6 + c):
                Image.fromarray(np.full((4, 4), 9 * c + i, np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_list(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAMLBENCH_DATA", str(tmp_path))
    (tmp_path / "omniglot" / "images_background").mkdir(parents=True)
    (tmp_path / "omniglot" / "images_evaluation").mkdir(parents=True)
    code, out, _ = run(capsys, "list")
    assert code == 0
    words = [line.split(maxsplit=1) for line in out.splitlines()]
    assert words == [
        ["in", f"{tmp_path}:"],
        ["omniglot", "there"],
        ["mini_imagenet", "not there"],
        ["tiered_imagenet", "not there"],
        ["cifar_fs", "not there"],
        ["fc100", "not there"],
        ["celeba", "not there"],
        ["image_folder", "not there"],
        ["glyphs", "there"],
    ]


def test_prepare_then_verify(pictures, tmp_path, capsys):
    own = ["image_folder", "--root", pictures, "ways=3", "image_size=4", "channels=1"]
    code, out, _ = run(capsys, "prepare", *own)
    assert code == 0
    first, *splits = out.splitlines()
    assert first.startswith("image_folder: ready, sha256 ")
    assert [line.split() for line in splits] == [
        ["train", "3", "classes", "of", "6", "to", "8", "images"],
        ["test", "3", "classes", "of", "6", "to", "8", "images"],
    ]
    assert len(list((tmp_path / "data" / "cache").glob("*.npy"))) == 1
    code, out, _ = run(capsys, "verify", *own)
    assert code == 0
    assert out.splitlines()[0] == first.replace("ready", "verified")


def test_verify_finds_what_a_quick_look_does_not(pictures, capsys):
    """`verify` detects a damaged picture whose size and time are unchanged."""
    own = ["image_folder", "--root", pictures, "ways=3", "image_size=4", "channels=1"]
    assert run(capsys, "prepare", *own)[0] == 0
    path = pictures / "train" / "train0" / "0.png"
    times = path.stat().st_mtime_ns
    path.write_bytes(b"x" * path.stat().st_size)
    os.utime(path, ns=(times, times))
    assert run(capsys, "prepare", *own)[0] == 0
    code, _, err = run(capsys, "verify", *own)
    assert code == 2
    assert "train0/0.png: this picture does not decode" in err


@pytest.mark.parametrize("command", [["list"], ["verify", "mini_imagenet"]])
def test_a_place_that_may_not_be_read(tmp_path, monkeypatch, capsys, command):
    """`Path.is_dir` raises this for another user's folder before Python 3.14."""

    def layouts(self, folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr("mamlbench.datasets.MiniImagenet.layouts", layouts)
    code, _, err = run(capsys, *command, "--root", tmp_path)
    assert code == 2
    where = tmp_path / "mini_imagenet"
    assert err == f"mamlbench-data: {where}: cannot be read (Permission denied)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "omniglo"], "no dataset omniglo: .* \\(did you mean 'omniglot'\\?\\)"),
        (
            ["prepare", "glyphs", "wasy=3"],
            "wasy: unknown to Glyphs; accepted: ways.*did you mean 'ways'",
        ),
        (["prepare", "glyphs", "ways=101"], "ways=101: accepted is 2 to 100"),
        (["prepare", "glyphs", "ways=many"], 'ways="many": accepted is a whole number'),
        (["prepare", "omniglot", "resize=["], r"resize=\[: cannot be read; accepted is a value in"),
        (["prepare", "omniglot", "ways=${"], r"ways=\$\{: cannot be read; accepted is a value in"),
        (["verify", "mini_imagenet"], "mini_imagenet is not there whole"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("MAMLBENCH_DATA", str(tmp_path))
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert re.search(message, err)
    assert err.count("\n") == 1


def test_a_stray_word_is_refused(capsys):
    code, out, err = run(capsys, "prepare", "glyphs", "--rooot", "x")
    assert (code, out) == (2, "")
    options = "mamlbench-data --help lists the options"
    assert err == f"mamlbench-data: unrecognized arguments: --rooot x; {options}\n"


def test_help_does_not_wait_for_torch():
    command = "import sys; from mamlbench.cli.data import main\ntry: main(['--help'])\n"
    command += "except SystemExit: sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "prepare" in done.stdout
