"""The cache of decoded images: used, rebuilt if broken, safe with concurrent builders."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mamlbench.datasets import store
from mamlbench.datasets.pictures import Decoding, Source, class_folders, files_in
from mamlbench.errors import UserError

GREY = Decoding(1, 2, 2, "nearest")


@pytest.fixture
def pictures(tmp_path, save_picture):
    for i, name in enumerate(["a/1.png", "a/2.png", "b/1.png"]):
        save_picture(tmp_path / "pictures" / name, np.full((2, 2), 10 * i))
    return tmp_path / "pictures"


@pytest.fixture
def decoded(monkeypatch):
    """The pictures decoded so far."""
    names = []
    decode = store.decode
    monkeypatch.setattr(store, "decode", lambda p, d: names.append(p.name) or decode(p, d))
    return names


def fetch(pictures, root, decoding=GREY, fresh=False):
    source = Source("toy", lambda: files_in(pictures), lambda: class_folders(pictures))
    return store.fetch(source, decoding, root, fresh)


def check(found):
    assert found.classes == ("a", "b")
    assert found.counts == (2, 1)
    assert found.images[:, 0, 0, 0].tolist() == [0, 10, 20]
    assert found.images.shape == (3, 1, 2, 2)


def test_decoded_once(pictures, tmp_path, decoded):
    first, second = fetch(pictures, tmp_path), fetch(pictures, tmp_path, fresh=True)
    check(first)
    check(second)
    assert len(decoded) == 3
    direct = store.ImageSet.of(np.array(second.images), second.classes, second.counts)
    assert first.sha256 == second.sha256 == direct.sha256


def test_other_options_or_content_are_another_cache(pictures, tmp_path, decoded, save_picture):
    first = fetch(pictures, tmp_path)
    assert fetch(pictures, tmp_path, Decoding(1, 1, 1, "box")).images.shape == (3, 1, 1, 1)
    save_picture(pictures / "b" / "1.png", np.full((2, 2), 99))
    changed = fetch(pictures, tmp_path)
    assert changed.images[2, 0, 0, 0] == 99
    assert changed.sha256 != first.sha256
    assert len(decoded) == 9


def test_keyed_by_content_not_by_place(pictures, tmp_path, decoded):
    fetch(pictures, tmp_path)
    moved = pictures.rename(tmp_path / "elsewhere")
    os.utime(moved / "a" / "1.png", (1, 1))
    check(fetch(moved, tmp_path))
    assert len(decoded) == 3


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("spoil", [truncate, flip, os.unlink, lambda path: path.write_bytes(b"")])
def test_a_broken_cache_is_noticed_and_rebuilt(pictures, tmp_path, decoded, suffix, spoil):
    whole = fetch(pictures, tmp_path)
    (path,) = (tmp_path / "cache").glob(f"*{suffix}")
    spoil(path)
    again = fetch(pictures, tmp_path)
    check(again)
    assert again.sha256 == whole.sha256
    assert len(decoded) == 6
    check(fetch(pictures, tmp_path))
    assert len(decoded) == 6


def test_a_changed_count_in_the_cache_is_noticed(pictures, tmp_path, decoded):
    fetch(pictures, tmp_path)
    (path,) = (tmp_path / "cache").glob("*.json")
    path.write_text(path.read_text().replace("[2, 1]", "[1, 2]"))
    check(fetch(pictures, tmp_path))


def test_what_a_killed_builder_left_is_no_hindrance(pictures, tmp_path):
    fetch(pictures, tmp_path)
    (path,) = (tmp_path / "cache").glob("*.npy")
    (tmp_path / "cache").glob("*.json").__next__().unlink()
    path.rename(path.with_suffix(".part"))
    truncate(path.with_suffix(".part"))
    check(fetch(pictures, tmp_path))
    assert not list((tmp_path / "cache").glob("*.part"))


def test_several_builders_at_once_decode_once(pictures, tmp_path, decoded):
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: fetch(pictures, tmp_path), range(8)):
            check(found)
    assert len(decoded) == 3


def test_a_broken_picture_leaves_nothing_half_written(pictures, tmp_path):
    truncate(pictures / "b" / "1.png")
    (pictures / "b" / "1.png").write_bytes((pictures / "b" / "1.png").read_bytes()[:40])
    with pytest.raises(UserError, match=r"b/1.png: this picture cannot be decoded"):
        fetch(pictures, tmp_path)
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".lock"}


def test_a_read_only_root_is_left_alone(pictures, tmp_path, own_cache):
    root = tmp_path / "root"
    root.mkdir(mode=0o555)
    check(fetch(pictures, root))
    assert not list(root.iterdir())
    assert len(list((own_cache / "mamlbench" / "cache").glob("toy-*.npy"))) == 1


def test_nowhere_to_write(pictures, tmp_path, monkeypatch):
    root = tmp_path / "root"
    root.mkdir(mode=0o555)
    monkeypatch.setattr(store, "user_cache_path", lambda name: root / name)
    with pytest.raises(UserError, match="can be written; set MAMLBENCH_DATA"):
        fetch(pictures, root)


def test_a_whole_cache_in_a_read_only_place(pictures, tmp_path, monkeypatch, decoded):
    root = tmp_path / "root"
    monkeypatch.setattr(store, "user_cache_path", lambda name: root / name)
    check(fetch(pictures, root))
    for picture in pictures.rglob("*.png"):
        os.utime(picture, (0, 0))  # so that the stored hash of the sources no longer applies
    (root / "cache").chmod(0o555)
    root.chmod(0o555)
    count = len(decoded)
    check(fetch(pictures, root))
    assert len(decoded) == count


def test_a_full_disk(tmp_path, small_disk, save_picture):
    save_picture(tmp_path / "pictures" / "a" / "1.png", np.zeros((2, 2)))
    with pytest.raises(UserError, match="the disk is full"):
        fetch(tmp_path / "pictures", small_disk, Decoding(3, 300, 300, "nearest"))
    assert {path.suffix for path in (small_disk / "cache").iterdir()} <= {".lock"}


def test_a_dangling_link(pictures, tmp_path):
    (pictures / "a" / "3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"3.png: cannot be read"):
        fetch(pictures, tmp_path)
