"""Atomic file writes, and disk errors as messages for the user."""

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
"""Messages for disk errors by error number; each follows the file's name."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` while writing `path` into a `UserError` that names the file."""
    try:
        yield
    except OSError as error:
        reason = DISK_ERRORS.get(error.errno or 0, error.strerror or str(error))
        raise UserError(f"cannot write {path}: {reason}") from error


@contextmanager
def read_errors() -> Iterator[None]:
    """Turn an `OSError` while reading a file into a `UserError` that names the file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:  # not about a file, such as a closed pipe
            raise
        reason = error.strerror or str(error)
        raise UserError(f"{error.filename}: cannot be read ({reason})") from error


def write_atomically(path: Path, data: bytes | str, before: Path | None = None) -> None:
    """Write a file so that a kill at any time leaves either the old or the new file, complete.

    Creates missing parent folders and writes text as UTF-8. With `before`, the old file is renamed
    to that path; after a kill between the two renames, only `before` exists.

    Raises:
        UserError: the disk is full or `path` is not writable; the old file is untouched.
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
    """Expand `~` to the user's home folder; `~name` of an unknown user stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 -- pathlib raises for unknown users


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities, which JSON lacks, as null.

    Raises:
        UserError: see `write_atomically`.
    """
    write_atomically(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed writers; only for the process that owns `folder`."""
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
    """Flush the rename to disk, if the system can open folders."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, read with PyYAML's fast C loader if available.

    Raises:
        OSError: the file cannot be read.
        yaml.YAMLError: the file is not valid YAML.
    """
    return yaml.load(path.read_bytes(), _LOADER)
