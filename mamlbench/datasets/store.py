"""Decoded images on disk, so that pictures are decoded once.

A cache is two files: `<name>-<key>.npy`, the pixels, and `<name>-<key>.json`, written last, with a
checksum of both. The key is a hash of the sources' content and of how they are decoded. So that a
start need not read all sources again, `<name>-<stamp>.source` remembers the content hash that
belongs to their paths, sizes and times; `mamlbench-data verify` does not rely on it.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock
from numpy.lib.format import open_memmap
from platformdirs import user_cache_path

from mamlbench.datasets.pictures import Decoding, Source, decode
from mamlbench.datasets.progress import counted
from mamlbench.errors import UserError
from mamlbench.files import disk_errors, write_atomically

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
    def of(cls, images: np.ndarray, classes: Iterable[str], counts: Iterable[int]) -> ImageSet:
        """The set of these images, with its hash."""
        classes, counts = tuple(classes), tuple(counts)
        digest = hashlib.sha256(np.ascontiguousarray(images).data)
        digest.update(json.dumps([images.shape, classes, counts]).encode())
        return cls(images, classes, counts, digest.hexdigest())


def data_root(root: str | None) -> Path:
    """Where datasets live: `root`, else MAMLBENCH_DATA, else the platform's cache folder."""
    chosen = root or os.environ.get("MAMLBENCH_DATA")
    return Path(chosen).expanduser() if chosen else user_cache_path("mamlbench")


def cache_folders(root: Path) -> list[Path]:
    """Where caches are looked for; they are written to the first that can be written."""
    return [root / "cache", user_cache_path("mamlbench") / "cache"]


def fetch(source: Source, decoding: Decoding, root: Path, fresh: bool = False) -> ImageSet:
    """The images of `source`, from the cache where it holds them.

    Args:
        source: the pictures.
        decoding: how they become pixels.
        root: the data root, in which the cache is kept if it can be written.
        fresh: hash the sources anew, whatever is remembered of them.

    Raises:
        UserError: a source that is broken, or no place to write a cache.
    """
    folders = cache_folders(root)
    files = source.files()
    stamp = _stamp(files)
    content = None if fresh else _remembered(folders, f"{source.name}-{stamp}.source")
    if content is None:
        content = _content(source.name, files)
    key = _hash([_FORMAT, PIL.__version__, asdict(decoding), content])[:20]
    stem = f"{source.name}-{key}"
    cached = _first(folders, stem)
    if cached is None:
        folder = _writable(folders)
        with disk_errors(folder / f"{stem}.npy"), FileLock(folder / f"{stem}.lock"):
            cached = _read(folder, stem) or _build(source, decoding, folder, stem)
    _remember(folders, f"{source.name}-{stamp}.source", content)
    return cached


def _build(source: Source, decoding: Decoding, folder: Path, stem: str) -> ImageSet:
    classes = source.read()
    pictures = [picture for members in classes.values() for picture in members]
    counts = [len(members) for members in classes.values()]
    part = folder / f"{stem}.part"
    pixels = open_memmap(part, "w+", np.uint8, (len(pictures), *decoding.shape))
    try:
        for i, picture in enumerate(counted(pictures, f"decoding {source.name}")):
            pixels[i] = decode(picture, decoding)
        whole = ImageSet.of(pixels, classes, counts)
        pixels.flush()
    except BaseException:
        del pixels
        part.unlink(missing_ok=True)
        raise
    _sync(part)
    part.replace(folder / f"{stem}.npy")
    facts = {"classes": whole.classes, "counts": whole.counts, "sha256": whole.sha256}
    write_atomically(folder / f"{stem}.json", json.dumps({**facts, "crc32": _checksum(whole)}))
    return whole


def _read(folder: Path, stem: str) -> ImageSet | None:
    """The cache, or None where it is missing, half-written or broken."""
    try:
        facts = json.loads((folder / f"{stem}.json").read_text())
        # copy on write: processes share the pages, and torch wants writable memory
        pixels = np.load(folder / f"{stem}.npy", mmap_mode="c", allow_pickle=False)
        found = ImageSet(pixels, tuple(facts["classes"]), tuple(facts["counts"]), facts["sha256"])
        return found if _checksum(found) == facts["crc32"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _first(folders: list[Path], stem: str) -> ImageSet | None:
    return next((found for folder in folders if (found := _read(folder, stem))), None)


def _checksum(whole: ImageSet) -> int:
    facts = json.dumps([whole.images.shape, whole.classes, whole.counts, whole.sha256])
    return zlib.crc32(facts.encode(), zlib.crc32(whole.images.data))


def _stamp(files: list[Path]) -> str:
    stats = ((path, path.stat()) for path in files)
    return _hash([(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats])[:20]


def _content(name: str, files: list[Path]) -> str:
    digest = hashlib.sha256()
    shared = os.path.commonpath([path.parent for path in files])
    for path in counted(files, f"hashing {name}"):
        digest.update(path.relative_to(shared).as_posix().encode())
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


def _remember(folders: list[Path], name: str, content: str) -> None:
    if _remembered(folders, name) != content:
        write_atomically(_writable(folders) / name, content)


def _writable(folders: list[Path]) -> Path:
    for folder in folders:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        # a folder marked read-only is left alone even by root, whom the system would let write
        if there.stat().st_mode & 0o222 and os.access(there, os.W_OK):
            folder.mkdir(parents=True, exist_ok=True)
            return folder
    places = " nor ".join(map(str, folders))
    raise UserError(f"cache: neither {places} can be written; set MAMLBENCH_DATA or XDG_CACHE_HOME")


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
