"""What ends a run with one line instead of a traceback: mistakes, and another process's work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

FAILED, USER_ERROR, BUSY, AFTER_SIGNAL = 1, 2, 75, 128
"""Exit codes; BUSY, where another process is at work on the run, is sysexits.h's for "try again
later", and after signal n it is the last and n, as in a shell."""


class UserError(Exception):
    """A mistake in the input: shown as one line, without a traceback, with exit code 2.

    The message names the key or file, what was found there, and what would be accepted.
    """


class Busy(Exception):
    """Another process is at work on it; the message says which, and on what."""


class Lost(Exception):
    """A process of this run has ended, or cannot be reached; the message says what is known.

    Attributes:
        exit_code: of that process, negative after a signal that ended it; None where not known.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class Pruned(Exception):
    """A search expects no more of this run; the message says where it ended."""


class BadValue(UserError):
    """An argument whose value cannot be used.

    Raised by constructors, which know the argument's bare name; `config.build.build` adds the
    config group in front, so that the user reads the key as it is typed on the command line.
    """

    def __init__(self, option: str, found: object, accepted: str, group: str = "") -> None:
        self.option, self.found, self.accepted, self.group = option, found, accepted, group
        key = f"{group}.{option}" if group else option
        shown = str(found).lower() if isinstance(found, bool) else found
        super().__init__(f"{key}={shown}: accepted is {accepted}")

    def under(self, group: str) -> BadValue:
        """The same mistake, its key written out from the config's top."""
        return BadValue(self.option, self.found, self.accepted, group)


def require(condition: bool, option: str, found: object, accepted: str) -> None:
    """Raise `BadValue` unless `condition` holds."""
    if not condition:
        raise BadValue(option, found, accepted)


def one_of(option: str, found: str, choices: Iterable[str]) -> None:
    """Raise `BadValue` with the nearest valid name unless `found` is among `choices`."""
    names = list(choices)
    require(found in names, option, found, ", ".join(names) + did_you_mean(found, names))


def did_you_mean(found: str, names: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the name nearest to `found`, or nothing where none is near."""
    near = difflib.get_close_matches(found, list(names), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
