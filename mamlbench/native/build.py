"""Compiles the kernels once and keeps the library in the user's cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

_HERE = Path(__file__).parent
_SOURCES = ("convolution.cpp", "batch_norm.cpp", "adam.cpp")
_FLAGS = (
    *("-std=c++20", "-O3", "-march=native", "-fopenmp", "-fPIC", "-fvisibility=hidden"),
    "-fno-math-errno",  # otherwise square roots are not vectorised
)
_SECONDS = 120


@cache
def _built() -> ctypes.CDLL | str:
    """The library, or a line that says why there is none."""
    if os.environ.get("MAMLBENCH_NATIVE") == "0":
        return "MAMLBENCH_NATIVE=0"
    compiler = ["c++"]
    try:
        compiler = shlex.split(os.environ.get("CXX", "")) or compiler
        path = user_cache_path("mamlbench") / "native" / f"{_key(compiler)}.so"
        if not path.exists():
            _compile(compiler, path)
        return ctypes.CDLL(str(path))
    except FileNotFoundError:
        return f"no C++ compiler {compiler[0]}"
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"{compiler[0]} failed"]
        return next((line for line in lines if "error" in line), lines[0])
    except ValueError as error:
        return f"CXX={os.environ['CXX']}: {error}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


def library() -> ctypes.CDLL | None:
    """The kernels' library; None if it cannot be built."""
    built = _built()
    return None if isinstance(built, str) else built


def why_not() -> str | None:
    """Why there is no library, in a line; None if there is one."""
    built = _built()
    return built if isinstance(built, str) else None


def _key(compiler: list[str]) -> str:
    """A name that depends on the sources, the compiler with its flags, and the processor."""
    macros = _run([*compiler, *_FLAGS, "-E", "-dM", "-x", "c++", os.devnull])
    digest = hashlib.sha256(" ".join([*compiler, *_FLAGS, macros]).encode())
    for file in sorted(_HERE.glob("*.[ch]pp")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _compile(compiler: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        with ThreadPoolExecutor() as pool:
            objects = list(pool.map(lambda name: _object(compiler, name, Path(folder)), _SOURCES))
        _run([*compiler, *_FLAGS, "-shared", *objects, "-o", str(made)])
        made.replace(path)


def _object(compiler: list[str], source: str, folder: Path) -> str:
    made = str(folder / f"{source}.o")
    _run([*compiler, *_FLAGS, "-c", str(_HERE / source), "-o", made])
    return made


def _run(command: list[str]) -> str:
    devnull = subprocess.DEVNULL
    return subprocess.run(
        command, stdin=devnull, capture_output=True, text=True, timeout=_SECONDS, check=True
    ).stdout
