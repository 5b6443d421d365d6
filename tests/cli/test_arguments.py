"""How the commands besides `mamlbench` end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mamlbench.cli.arguments import exit_code_of
from mamlbench.errors import Busy, UserError


def raising(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(("error", "code"), [(UserError("no"), 2), (Busy("no"), 75)])
def test_what_went_wrong_is_one_line(capsys, error, code):
    assert exit_code_of("mamlbench-x", lambda: raising(error)) == code
    assert capsys.readouterr() == ("", "mamlbench-x: no\n")


def test_whoever_reads_may_have_had_enough():
    """A closed pipe, as with `head`, gives no traceback, neither at once nor at Python's exit."""
    program = (
        "import sys; from mamlbench.cli.arguments import exit_code_of\n"
        "sys.stdin.read()\n"
        "sys.exit(exit_code_of('x', lambda: [print(i) for i in range(10**5)] and 0))"
    )
    reads, writes = os.pipe()
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=writes, stderr=pipe, text=True)
    os.close(writes)
    os.close(reads)
    assert child.communicate()[1] == ""
    assert child.returncode == 0


def test_ctrl_c_is_one_line(capsys):
    assert exit_code_of("mamlbench-x", lambda: raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "mamlbench-x: interrupted\n")
