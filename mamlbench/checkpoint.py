"""The full state of a run in one file, written atomically and read without executing code."""

from __future__ import annotations

import io
import logging
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamlbench.errors import UserError
from mamlbench.files import at_home, write_atomically

FORMAT = {"format": "mamlbench", "version": 1}
_ACCEPTED = "accepted is a run's folder or a checkpoint file"
_PLAIN = (type(None), bool, int, float, str, bytes)
_log = logging.getLogger(__name__)


class _NoCheckpoint(UserError):
    """The file is not a mamlbench checkpoint."""


def save(path: Path, state: dict[str, Any], before: Path | None = None) -> None:
    """Write `state`, nested dicts, lists and tuples of tensors and plain values, atomically.

    The old file stays until the new one is complete on disk; with `before`, the old file is then
    kept under that name.

    Raises:
        TypeError: `load` would refuse a value; the message gives its place in the state.
        UserError: the disk is full or `path` is not writable; the old checkpoint is untouched.
    """
    _require_plain(state, "state")
    # serialise to memory first, because torch's file writer cannot stop cleanly on a full disk
    buffer = io.BytesIO()
    torch.save({**FORMAT, **state}, buffer)
    write_atomically(path, buffer.getvalue(), before)


def load(path: Path, option: str = "checkpoint") -> dict[str, Any]:
    """Read the state that `save` wrote, with tensors on the CPU. Never runs code from the file.

    `option` is the option that named the file, for error messages.

    Raises:
        UserError: the file is missing, truncated, damaged, or not a mamlbench checkpoint.
    """
    try:
        return _load(path, option)
    except _NoCheckpoint as error:
        raise UserError(f"{error}; {_ACCEPTED}") from error


def _load(path: Path, option: str = "checkpoint") -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{option}={path}: there is no such file")
    try:
        with path.open("rb") as file:
            begins_as_zip = file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise UserError(f"{option}={path}: cannot be read: {error.strerror}") from error
    if not begins_as_zip:
        raise _NoCheckpoint(f"{option}={path}: not a mamlbench checkpoint")
    if not _is_whole(path):
        raise UserError(f"{option}={path}: the file is cut short or damaged")
    state = _read(path, option)
    if not isinstance(state, dict) or state.pop("format", None) != FORMAT["format"]:
        raise _NoCheckpoint(f"{option}={path}: not a mamlbench checkpoint")
    version = state.pop("version", None)
    if version != FORMAT["version"]:
        raise UserError(
            f"{option}={path}: has format version {version}, "
            f"accepted is version {FORMAT['version']}"
        )
    return state


def load_newest(newest: Path, before: Path) -> dict[str, Any] | None:
    """Load `newest`, or `before` with a warning if `newest` is damaged; None if neither exists.

    The damaged file is renamed, so that the next save does not overwrite `before` with it.

    Raises:
        UserError: no existing file of the two is intact.
    """
    there = [path for path in (newest, before) if path.is_file()]
    if not there:
        return None
    try:
        return _load(there[0])
    except UserError as error:
        if len(there) == 1:
            raise UserError(f"{error}; restart=true starts over") from error
        damage = error
    try:
        state = _load(before)
    except UserError as error:
        raise UserError(f"{damage}; {error}; restart=true starts over") from error
    newest.replace(newest.with_name("checkpoint_damaged.pt"))
    _log.warning("%s; continuing with the one before, of iteration %d", damage, state["iteration"])
    return state


def resolve(path: Path, option: str = "checkpoint", last: bool = False) -> Path:
    """The checkpoint file for `path`: a file itself, or a run folder's `best.pt`, else its last.

    With `last`, a folder's last checkpoint is preferred. `option` is the option that named `path`,
    for error messages.

    Raises:
        UserError: `path` is neither a file nor a folder with a checkpoint.
    """
    path = at_home(path)
    if path.is_file():
        return path
    for name in ("checkpoint.pt", "best.pt") if last else ("best.pt", "checkpoint.pt"):
        if (path / name).is_file():
            return path / name
    found = "a folder without best.pt or checkpoint.pt" if path.is_dir() else "nothing there"
    raise UserError(f"{option}={path}: {found}; {_ACCEPTED}")


def resolve_best(path: Path, count: int, last: bool = False) -> list[Path]:
    """The checkpoints for `path` when the `count` best are tested together, best first.

    A file gives itself alone; a run folder that kept fewer gives all of them. `last`: see
    `resolve`.

    Raises:
        UserError: `path` does not exist, or is a folder that kept no best checkpoints.
    """
    path = at_home(path)
    if count == 1 or not path.is_dir():
        return [resolve(path, last=last)]
    scores = {kept: load(kept)["score"] for kept in path.glob("best_*.pt")}
    if not scores:
        raise UserError(
            f"checkpoint={path}: a folder without best_*.pt, which evaluation.select=top{count} "
            "tests; accepted is the folder of a run that was trained with it"
        )
    iteration = {kept: int(kept.stem.removeprefix("best_")) for kept in scores}
    return sorted(scores, key=lambda kept: (-scores[kept], iteration[kept]))[:count]


def as_bytes(value: Any) -> bytes:
    """Serialise a state, or part of one, so that equal states give equal bytes on any machine."""
    if isinstance(value, dict):
        entries = sorted((repr(key).encode(), as_bytes(entry)) for key, entry in value.items())
        return b"{" + b",".join(key + b":" + entry for key, entry in entries) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(map(as_bytes, value)) + b"]"
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        return (
            f"{value.dtype}{list(value.shape)}".encode() + flat.view(torch.uint8).numpy().tobytes()
        )
    return repr(value).encode()


def _is_whole(path: Path) -> bool:
    """Whether every checksum in the zip file is right; torch would load altered data silently."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return False


def _read(path: Path, option: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # a damaged file can raise any exception
        foreign = "Weights only" in str(error)
        why = (
            ": it holds code or unknown objects, which are never run" if foreign else ", or damaged"
        )
        raise _NoCheckpoint(f"{option}={path}: not a mamlbench checkpoint{why}") from error


def _require_plain(value: Any, place: str) -> None:
    """Raise `TypeError` at save time for a value that `weights_only=True` would refuse to load."""
    if isinstance(value, dict):
        for key, entry in value.items():
            _require_plain(key, f"a key of {place}")
            _require_plain(entry, f"{place}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            _require_plain(entry, f"{place}[{index}]")
    elif type(value) not in _PLAIN and not isinstance(value, Tensor):
        raise TypeError(f"{place} is a {type(value).__name__}: a checkpoint takes plain values")
