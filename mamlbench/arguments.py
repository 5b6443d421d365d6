"""What the commands beside `mamlbench` read their arguments with."""

from __future__ import annotations

import argparse
from typing import NoReturn

from mamlbench.errors import UserError


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, where argparse itself prints the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}; {self.prog} --help lists the options")
