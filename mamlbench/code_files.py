"""The source files of a run's classes, by which its result tells that they have changed since."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_PACKAGE = Path(__file__).parent
_OTHERS = {"mamlbench", "torch", *sys.stdlib_module_names}


def code_files(*objects: object) -> dict[str, str]:
    """Hashes of the files that hold the objects' classes, and these's bases outside of mamlbench.

    By path; of mamlbench's own files below the folder of the package.
    """
    found = {}
    for path in (path for thing in objects for path in _files_of(type(thing))):
        inside = path.is_relative_to(_PACKAGE)
        name = path.relative_to(_PACKAGE.parent).as_posix() if inside else str(path)
        found[name] = _hash(path)
    return found


def changed_files(hashes: Mapping[str, str]) -> list[str]:
    """Those of the files that are there with another content."""
    paths = {name: _PACKAGE.parent / name for name in hashes}  # an absolute path stays itself
    return [n for n, path in paths.items() if path.is_file() and _hash(path) != hashes[n]]


def _files_of(cls: type) -> Iterator[Path]:
    for base in cls.__mro__:
        if base is cls or base.__module__.partition(".")[0] not in _OTHERS:
            try:
                file = inspect.getsourcefile(base)
            except TypeError:  # built in, or made on the spot
                continue
            if file is not None and Path(file).is_file():
                yield Path(file)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
