"""Files that are whole at every instant, and errors of the disk in the user's words."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from mamlbench.errors import UserError

PACKAGE = Path(__file__).parent
"""The folder of mamlbench's code."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "not writable, permission denied",
    errno.EPERM: "not writable, permission denied",
    errno.EROFS: "not writable, the file system is read-only",
    errno.ENOTDIR: "not writable, a part of its path is a file and not a folder",
    errno.EEXIST: "not writable, a part of its path is a file and not a folder",
    errno.EISDIR: "not writable, it is a folder",
}
"""What the disk refuses, by error number, in words that follow the file's name."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while `path` is written into a `UserError` that names the file."""
    try:
        yield
    except OSError as error:
        reason = DISK_ERRORS.get(error.errno or 0, error.strerror or str(error))
        raise UserError(f"cannot write {path}: {reason}") from error


@contextmanager
def read_errors() -> Iterator[None]:
    """Turn what the disk refuses while something is read into a `UserError` that names the file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:  # of no file, as of a pipe that nobody reads
            raise
        reason = error.strerror or str(error)
        raise UserError(f"{error.filename}: cannot be read ({reason})") from error


def write_atomically(path: Path, data: bytes | str, before: Path | None = None) -> None:
    """Write a file so that a kill at any instant leaves the old one or the new one, whole.

    Missing parent folders are made. Text is written as UTF-8. With `before` the old file stays too,
    under that name; there alone, where a kill comes between the two replacements.

    Raises:
        UserError: the disk is full or the place not writable; the old file is untouched.
    """
    if not path.name:
        raise UserError(f"cannot write {path}: {DISK_ERRORS[errno.EISDIR]}")
    content = data.encode() if isinstance(data, str) else data
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if before is not None:
                with suppress(FileNotFoundError):
                    path.replace(before)
            beside.replace(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        _sync_folder(path.parent)


def at_home(path: Path | str) -> Path:
    """A path whose `~` is the user's home folder; of unknown users it stays."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 -- pathlib's raises there


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities, which JSON lacks, as null.

    Raises:
        UserError: as `write_atomically`.
    """
    write_atomically(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def remove_leftovers(folder: Path) -> None:
    """Remove what writers killed in `folder` left behind; only for a folder's single owner."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def _sync_folder(folder: Path) -> None:
    """Make the replacement itself durable, where the system can open a folder at all."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, by the fast loader where PyYAML has it.

    Raises:
        OSError: it cannot be read.
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(path.read_bytes(), _LOADER)
