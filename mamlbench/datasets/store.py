"""Decoded images on disk, so that pictures are decoded once.

A cache is two files: `<name>-<key>.npy`, the pixels, and `<name>-<key>.json`, written last, with a
checksum of both. The key is a hash of the sources' content, the decoding, and the versions of
Pillow and of this format. So that a start need not read all sources again, `<name>-<stamp>.source`
stores the content hash for their paths, sizes and times; `mamlbench-data verify` ignores it.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock
from numpy.lib.format import open_memmap, write_array_header_1_0
from platformdirs import user_cache_path

from mamlbench.datasets.pictures import Decoding, Source, decode
from mamlbench.datasets.progress import counted
from mamlbench.errors import UserError
from mamlbench.files import at_home, disk_errors, read_errors, write_atomically

_FORMAT = 1


@dataclass(frozen=True)
class ImageSet:
    """Decoded images, class after class.

    Attributes:
        images: [n, channels, height, width] uint8.
        classes: name of each class.
        counts: images of each class.
        sha256: hash of all the above.
    """

    images: np.ndarray
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    sha256: str

    @classmethod
    def of(cls, images: np.ndarray, classes: Sequence[str], counts: Sequence[int]) -> ImageSet:
        """The set of these images, with its hash."""
        digest = hashlib.sha256(np.ascontiguousarray(images).data)
        digest.update(_labels(images.shape, classes, counts))
        return cls(images, tuple(classes), tuple(counts), digest.hexdigest())


def data_root(root: str | None) -> Path:
    """Where datasets live: `root`, else MAMLBENCH_DATA, else the platform's cache folder."""
    chosen = root or os.environ.get("MAMLBENCH_DATA")
    return at_home(chosen) if chosen else user_cache_path("mamlbench")


def cache_folders(root: Path) -> list[Path]:
    """Where caches are looked for; new caches go to the first folder that is writable."""
    return [root / "cache", user_cache_path("mamlbench") / "cache"]


def fetch(source: Source, decoding: Decoding, root: Path, fresh: bool = False) -> ImageSet:
    """The images of `source`, from the cache if it holds them.

    Args:
        source: the pictures.
        decoding: how they become pixels.
        root: the data root, which holds the cache if it is writable.
        fresh: hash the sources again, even if their hash is stored.

    Raises:
        UserError: a broken source, or no writable folder for the cache.
    """
    folders = cache_folders(root)
    with read_errors():
        files = source.files()
        stamp = f"{source.name}-{_stamp(files)}.source"
        remembered = None if fresh else _remembered(folders, stamp)
        content = remembered or content_hash(files, source.name)
    key = _hash([_FORMAT, PIL.__version__, asdict(decoding), content])[:20]
    stem = f"{source.name}-{key}"
    cached = _first(folders, stem)
    if cached is None:
        folder = _writable(folders)
        with disk_errors(folder / f"{stem}.npy"), FileLock(folder / f"{stem}.lock"):
            cached = _read(folder, stem) or _build(source, decoding, folder, stem)
    if content != remembered:
        with suppress(UserError):  # if no folder is writable, the next start hashes again
            write_atomically(_writable(folders) / stamp, content)
    return cached


def _build(source: Source, decoding: Decoding, folder: Path, stem: str) -> ImageSet:
    classes = source.read()
    pictures = [picture for members in classes.values() for picture in members]
    names, counts = list(classes), [len(members) for members in classes.values()]
    shape = (len(pictures), *decoding.shape)
    digest, crc = hashlib.sha256(), 0
    part = folder / f"{stem}.part"
    try:
        # not memory-mapped: with writes, a full disk raises an error instead of crashing
        with part.open("wb") as file:
            write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for picture in counted(pictures, f"decoding {source.name}"):
                pixels = decode(picture, decoding).tobytes()
                digest.update(pixels)
                crc = zlib.crc32(pixels, crc)
                file.write(pixels)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / f"{stem}.npy")
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    digest.update(_labels(shape, names, counts))
    facts = {"classes": names, "counts": counts, "sha256": digest.hexdigest()}
    crc = zlib.crc32(json.dumps([list(shape), facts]).encode(), crc)
    write_atomically(folder / f"{stem}.json", json.dumps({"facts": facts, "crc32": crc}))
    built = _read(folder, stem)
    if built is None:
        raise UserError(f"{folder / stem}.npy: cannot be read back after it was written")
    return built


def _labels(shape: Sequence[int], classes: Sequence[str], counts: Sequence[int]) -> bytes:
    return json.dumps([list(shape), list(classes), list(counts)]).encode()


def _read(folder: Path, stem: str) -> ImageSet | None:
    """The cache, or None if it is missing, half-written or broken."""
    try:
        stored = json.loads((folder / f"{stem}.json").read_text())
        facts = stored["facts"]
        # copy on write: processes share the pages, and torch requires writable memory
        pixels = open_memmap(folder / f"{stem}.npy", mode="c")
        crc = zlib.crc32(json.dumps([list(pixels.shape), facts]).encode(), zlib.crc32(pixels.data))
        if crc != stored["crc32"]:
            return None
        return ImageSet(pixels, tuple(facts["classes"]), tuple(facts["counts"]), facts["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _first(folders: list[Path], stem: str) -> ImageSet | None:
    return next((found for folder in folders if (found := _read(folder, stem))), None)


def _stamp(files: list[Path]) -> str:
    stats = ((path, path.stat()) for path in files)
    return _hash([(str(path.absolute()), stat.st_size, stat.st_mtime_ns) for path, stat in stats])[
        :20
    ]


def content_hash(files: Sequence[Path], name: str) -> str:
    """Hash of the content of absolute files and of their names below their common folder.

    Args:
        files: in the order in which to hash them.
        name: of the dataset, for a progress bar.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    shared = os.path.commonpath([path.parent for path in files]) if files else ""
    for path in counted(files, f"hashing {name}"):
        digest.update(os.fsencode(path.relative_to(shared).as_posix()))  # names may not be UTF-8
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _remembered(folders: list[Path], name: str) -> str | None:
    for folder in folders:
        try:
            content = (folder / name).read_text()
        except (OSError, ValueError):
            continue
        if len(content) == hashlib.sha256().digest_size * 2:
            return content
    return None


def _writable(folders: list[Path]) -> Path:
    for folder in folders:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        # a folder marked read-only is left alone, even by root, who could write to it
        if there.stat().st_mode & 0o222 and os.access(there, os.W_OK):
            folder.mkdir(parents=True, exist_ok=True)
            return folder
    places = " nor ".join(map(str, folders))
    raise UserError(f"cache: neither {places} can be written; set MAMLBENCH_DATA or XDG_CACHE_HOME")
