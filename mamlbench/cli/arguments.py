"""What the commands beside `mamlbench` share: how they read their arguments, and how they end."""

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
    """Says what is wrong in one line, where argparse itself prints the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}; {self.prog} --help lists the options")


def exit_code_of(name: str, command: Callable[[], int]) -> int:
    """Do what a command does; its exit code, or of a mistake that is told in one line."""
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
    """Classes of the user's own, as my_lab.MyAlgorithm, are found where the command is started."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def leave_the_pipe() -> None:
    """Whoever reads what is printed, say `head`, has had enough: the rest goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
