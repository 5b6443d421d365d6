"""Exceptions that end a run with a one-line message instead of a traceback, and exit codes."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable

FAILED, USER_ERROR, BUSY, AFTER_SIGNAL = 1, 2, 75, 128
"""Exit codes. BUSY, when another process is working on the run, is EX_TEMPFAIL of sysexits.h;
after signal n the exit code is AFTER_SIGNAL + n, as in a shell."""


class UserError(Exception):
    """A mistake in the input, shown as one line without a traceback; the exit code is 2.

    The message names the key or file, what was found there, and what would be accepted.
    """


class Busy(Exception):
    """Another process is working on the same run or file; the message says which process."""


class Lost(Exception):
    """A process of this run has ended or cannot be reached; the message says what is known.

    Attributes:
        exit_code: that process's exit code, negative if a signal ended it; None if unknown.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class Pruned(Exception):
    """A search pruned this run; the message says at which iteration."""


class BadValue(UserError):
    """An argument whose value cannot be used.

    Constructors raise it with the argument's bare name; `config.build.build` prepends the config
    group, so that the message shows the key as typed on the command line.
    """

    def __init__(self, option: str, found: object, accepted: str, group: str = "") -> None:
        self.option, self.found, self.accepted, self.group = option, found, accepted, group
        key = f"{group}.{option}" if group else option
        shown = str(found).lower() if isinstance(found, bool) else found
        super().__init__(f"{key}={shown}: accepted is {accepted}")

    def under(self, group: str) -> BadValue:
        """The same error with the config group in front of the key."""
        return BadValue(self.option, self.found, self.accepted, group)


def require(condition: bool, option: str, found: object, accepted: str) -> None:
    """Raise `BadValue` unless `condition` holds."""
    if not condition:
        raise BadValue(option, found, accepted)


def one_of(option: str, found: str, choices: Iterable[str]) -> None:
    """Raise `BadValue`, suggesting the nearest valid name, unless `found` is in `choices`."""
    names = list(choices)
    require(found in names, option, found, ", ".join(names) + did_you_mean(found, names))


def with_its_place(error: Exception) -> str:
    """What a user's code has raised and where, in one line: `FILE, line N: ValueError: ...`.

    The place is the innermost one outside of installed packages, such as torch, if there is one.
    """
    what = " ".join(traceback.format_exception_only(error)[-1].split())
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {what}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename[0] != "<"]
    last = ([f for f in frames if "site-packages" not in f.filename] or frames)[-1]
    return f"{last.filename}, line {last.lineno}: {what}"


def did_you_mean(found: str, names: Iterable[str]) -> str:
    """` (did you mean 'x'?)` with the name nearest to `found`; empty if none is close."""
    near = difflib.get_close_matches(found, list(names), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
