"""Small synthetic data, and a separate cache for each test."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Tests neither read nor write the caches of the user who runs them."""
    folder = tmp_path_factory.mktemp("platform_cache")
    monkeypatch.setattr("mamlbench.datasets.store.user_cache_path", lambda name: folder / name)
    return folder


@pytest.fixture
def save_picture():
    def save(path: Path, pixels, mode=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
        (image.convert(mode) if mode else image).save(path)
        return path

    return save


@pytest.fixture
def zip_folder():
    def zipped(folder: Path, archive: Path, prefix: str = "") -> Path:
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*.*"), reverse=True):
                file.write(path, prefix + path.relative_to(folder).as_posix())
        return archive

    return zipped


@pytest.fixture
def png():
    def encoded(pixels) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    return encoded
