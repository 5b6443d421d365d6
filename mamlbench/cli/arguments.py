"""Argument parsing and exit codes that the commands share."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from mamlbench.errors import AFTER_SIGNAL, BUSY, USER_ERROR, Busy, UserError


class OneLineParser(argparse.ArgumentParser):
    """Reports errors in one line, without the full usage that argparse prints."""

    def error(self, message: str) -> NoReturn:
        """Report the error.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}; {self.prog} --help lists the options")


def exit_code_of(name: str, command: Callable[[], int]) -> int:
    """Run `command` and return its exit code; print an expected error in one line."""
    try:
        return command()
    except (UserError, Busy) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return BUSY if isinstance(error, Busy) else USER_ERROR
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return AFTER_SIGNAL + signal.SIGINT
    except BrokenPipeError:
        leave_the_pipe()
        return 0


def find_own_modules() -> None:
    """Make the user's classes, such as my_lab.MyAlgorithm, importable from the working folder."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def leave_the_pipe() -> None:
    """Discard further output, because the reader of the pipe, such as `head`, has closed it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
