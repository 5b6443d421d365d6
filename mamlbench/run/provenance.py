"""What produced a result: the code's commit, hashes of its files, and package versions."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mamlbench import __version__
from mamlbench.files import PACKAGE

_PACKAGES = (
    *("torch", "numpy", "hydra-core", "omegaconf", "pandas", "pillow"),
    *("learn2learn", "mujoco", "gymnasium"),
)
_OTHERS = {"mamlbench", "torch", *sys.stdlib_module_names}


def code_files(*objects: object, modules: Iterable[str] = ()) -> dict[str, str]:
    """Hash the source files of the objects' classes and of their bases outside mamlbench.

    Keys are absolute paths, except `mamlbench/...` for mamlbench's own files. For packages outside
    site-packages, all loaded files are included.

    Args:
        objects: the objects that make up a run.
        modules: names of further modules that the run depends on.
    """
    names = {base.__module__ for thing in objects for base in _bases(type(thing))} | {*modules}
    own = {name.partition(".")[0] for name in names} - _OTHERS
    beside = {name for name in sys.modules if name.partition(".")[0] in own} - names
    found = {}
    loaded = {path for path in _files_of(beside) if "site-packages" not in path.parts}
    for path in sorted(_files_of(names) | loaded):
        inside = path.is_relative_to(PACKAGE)
        name = path.relative_to(PACKAGE.parent).as_posix() if inside else str(path)
        found[name] = _hash(path)
    return found


def changed_files(hashes: Mapping[str, str]) -> list[str]:
    """The files that exist but no longer have these hashes."""
    paths = {name: PACKAGE.parent / name for name in hashes}  # an absolute path stays itself
    return [n for n, path in paths.items() if path.is_file() and _hash(path) != hashes[n]]


def _bases(cls: type) -> Iterator[type]:
    yield cls
    yield from (base for base in cls.__mro__ if base.__module__.partition(".")[0] not in _OTHERS)


def _files_of(modules: Iterable[str]) -> set[Path]:
    files = (getattr(sys.modules.get(name), "__file__", None) for name in modules)
    paths = {Path(file) for file in files if file is not None}
    return {path for path in paths if path.suffix == ".py" and path.is_file()}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Versions of mamlbench, Python and the packages that results depend on."""
    found = {"mamlbench": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The code's git commit, with `+` if tracked files have uncommitted changes.

    Outside a checkout, for example in a container, the value of MAMLBENCH_COMMIT, or None.
    """
    return _commit_of_checkout() or os.environ.get("MAMLBENCH_COMMIT") or None


def _commit_of_checkout() -> str | None:
    git = ["git", "-C", str(PACKAGE)]
    try:
        top = subprocess.run(
            [*git, "rev-parse", "--show-toplevel", "HEAD"], capture_output=True, text=True
        )
        if top.returncode != 0 or Path(top.stdout.split()[0]) != PACKAGE.parent:
            return None
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except OSError:
        return None
    return top.stdout.split()[1] + ("+" if dirty.stdout.strip() else "")
