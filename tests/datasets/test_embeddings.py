"""Embeddings: from the project's own files, from LEO's pickles, and what is refused."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch

from mamlbench.datasets import Embeddings
from mamlbench.datasets.embeddings import SOURCES, read_embeddings, write_embeddings
from mamlbench.errors import BadValue, UserError

WIDTH = 6
CLASSES = {"train": 5, "val": 3, "test": 4}
EACH = 8


def vectors(classes: int, seed: int = 0) -> np.ndarray:
    """Vectors of well separated classes, [classes, 8, 6], of length about 4."""
    generator = np.random.default_rng(seed)
    centres = 4 * np.eye(WIDTH)[:classes, None] + np.zeros((classes, EACH, WIDTH))
    return (centres + 0.1 * generator.normal(size=centres.shape)).astype(np.float32)


@pytest.fixture
def npz(tmp_path):
    parts = {split: vectors(count) for split, count in CLASSES.items()}
    names = [f"{split}/c{i}{split}" for split, count in CLASSES.items() for i in range(count)]
    path = tmp_path / "own.npz"
    everything = np.concatenate([part.reshape(-1, WIDTH) for part in parts.values()])
    write_embeddings(path, everything, names, [EACH] * len(names))
    return path


@pytest.fixture
def pickles(tmp_path):
    """As in LEO's release: rows in any order, with the class in the key."""
    folder = tmp_path / "center"
    folder.mkdir()
    for split, count in CLASSES.items():
        rows = vectors(count).reshape(-1, WIDTH)
        keys = [
            f"{i * EACH + j}-n{split}{i}-n{split}{i}_{j}.jpg"
            for i in range(count)
            for j in range(EACH)
        ]
        order = np.random.default_rng(1).permutation(len(rows))
        content = {"embeddings": rows[order], "keys": np.array(keys)[order]}
        (folder / f"{split}_embeddings.pkl").write_bytes(pickle.dumps(content, 2))
    return folder


def loaded(root, **options) -> Embeddings:
    dataset = Embeddings(root=str(root), width=WIDTH, ways=3, **({"queries": 2} | options))
    dataset.load(torch.device("cpu"))
    return dataset


@pytest.mark.parametrize("kind", ["npz", "pickles"])
def test_tasks(kind, request):
    dataset = loaded(request.getfixturevalue(kind), shots=2)
    tasks = dataset.sample("test", 0, 0, 4, 2, dataset.remaining("test", 2))
    assert tasks.support.x.shape == (4, 6, WIDTH)
    assert tasks.query.x.shape == (4, 3 * (EACH - 2), WIDTH)
    torch.testing.assert_close(tasks.query.x.norm(dim=-1), torch.ones(4, 18))
    # the classes are well separated: the nearest support vector gives a query's label
    nearest = torch.cdist(tasks.query.x, tasks.support.x).argmin(-1)
    assert torch.equal(tasks.support.y.gather(1, nearest), tasks.query.y)
    for task in range(4):
        rows = torch.cat([tasks.support.x[task], tasks.query.x[task]])
        assert len(torch.unique(rows, dim=0)) == 3 * EACH


def test_pickles_hold_each_class_whole(pickles):
    found = Embeddings(root=str(pickles), width=WIDTH, ways=3).read()
    assert found.classes[:6] == (
        "train/ntrain0",
        *(f"train/ntrain{i}" for i in range(1, 5)),
        "val/nval0",
    )
    assert found.counts == (EACH,) * 12
    ours = {tuple(row) for row in found.images[:EACH]}
    assert ours == {tuple(row) for row in vectors(5)[0]}


def test_without_normalisation_vectors_are_as_they_were_written(npz):
    tasks = loaded(npz, normalise=False).sample("train", 0, 0, 2)
    written = {tuple(row) for row in vectors(5).reshape(-1, WIDTH)}
    assert {tuple(row) for row in tasks.support.x.reshape(-1, WIDTH).tolist()} <= {
        tuple(row) for row in np.array([*written]).tolist()
    }


def test_the_hash_is_of_content(npz, tmp_path):
    first = loaded(npz)
    again = read_embeddings(npz)
    assert first.sha256 == again.sha256
    changed = again.images.copy()
    changed[3, 2] += 1
    other = tmp_path / "other.npz"
    write_embeddings(other, changed, again.classes, again.counts)
    assert loaded(other).sha256 != first.sha256


def test_nothing_there(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMLBENCH_DATA", str(tmp_path))
    dataset = Embeddings()
    assert not dataset.available
    with pytest.raises(
        UserError, match=r"embeddings.npz: no embeddings there; accepted is an .npz"
    ):
        dataset.load(torch.device("cpu"))


def test_another_width(npz):
    with pytest.raises(
        UserError, match=r"dataset.width=640: accepted is 6, the width in .*own.npz"
    ):
        Embeddings(root=str(npz)).load(torch.device("cpu"))


def test_vectors_of_another_source(npz, monkeypatch):
    with pytest.raises(BadValue, match=r"source=mini_imagnet: .*did you mean 'mini_imagenet'"):
        Embeddings(root=str(npz), source="mini_imagnet")
    line = (
        r"dataset.source=mini_imagenet: accepted is null, or a source with \d+ train, \d+ val and "
    )
    with pytest.raises(UserError, match=line):
        loaded(npz, source="mini_imagenet")
    monkeypatch.setitem(SOURCES, "mini_imagenet", tuple(CLASSES.values()))
    assert loaded(npz, source="mini_imagenet").splits == tuple(CLASSES)


def test_too_few_classes_or_images(npz):
    with pytest.raises(UserError, match="ways=4: accepted is 2 to 3: val has no more classes"):
        Embeddings(root=str(npz), width=WIDTH, ways=4, queries=2).load(torch.device("cpu"))
    with pytest.raises(UserError, match="queries=15: accepted is 0 to 7: a class of train has 8"):
        loaded(npz, queries=15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"classes": ["train/a", "val/a"]},
            "class a is in train and in val; accepted is one split",
        ),
        ({"vectors": np.ones((4, 2))}, r"float64 \[4, 2\] for 4 images; accepted is float32"),
        ({"vectors": np.ones((5, 2), np.float32)}, r"\[5, 2\] for 4 images"),
        ({"vectors": np.full((4, 2), np.nan, np.float32)}, "some embeddings are not finite"),
        ({"counts": [4]}, r"2 class names and counts \[4\]; accepted is a count of 1 or more"),
        ({"counts": [4, 0]}, r"2 class names and counts \[4, 0\]"),
        ({"classes": ["dog0", "dog1"]}, "class dog0; accepted is train/..., val/... or test/..."),
    ],
)
def test_what_cannot_be(tmp_path, change, message):
    path = tmp_path / "bad.npz"
    classes = {"classes": ["train/a", "val/b"], "counts": [2, 2]}
    given = {"vectors": np.ones((4, 2), np.float32), **classes} | change
    write_embeddings(path, given["vectors"], given["classes"], given["counts"])
    with pytest.raises(UserError, match=message):
        read_embeddings(path)


def test_damage_and_foreign_files(npz, tmp_path):
    content = npz.read_bytes()
    for name, data in (
        ("cut.npz", content[:-200]),
        ("text.npz", b"hello"),
        ("flipped.npz", content[:300] + bytes([content[300] ^ 1]) + content[301:]),
        ("empty.npz", b""),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"{name}: .*; accepted is an .npz"):
            read_embeddings(path)
    np.savez(tmp_path / "foreign.npz", x=np.ones(3))
    with pytest.raises(UserError, match=r"foreign.npz: .*embeddings"):
        read_embeddings(tmp_path / "foreign.npz")
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(UserError, match=r"one.npy: .*; accepted is an .npz"):
        read_embeddings(tmp_path / "one.npy")
    np.savez(tmp_path / "objects.npz", embeddings=np.array([{}]), classes=[], counts=[])
    with pytest.raises(UserError, match=r"objects.npz: Object arrays cannot be loaded"):
        read_embeddings(tmp_path / "objects.npz")


class Runs:
    def __reduce__(self):
        return os.mkdir, ("broken",)


def test_pickles_run_nothing(pickles, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = pickles / "val_embeddings.pkl"
    path.write_bytes(pickle.dumps({"embeddings": Runs(), "keys": []}))
    with pytest.raises(
        UserError, match=r"val_embeddings.pkl: not a pickle of .* \(it would import"
    ):
        loaded(pickles)
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"keys": []}, "embeddings"),
        ({"embeddings": np.ones((2, 3)), "keys": ["0-a-a_0"]}, r"float64 \[2, 3\], for 1 keys"),
        ({"embeddings": np.ones((1, 3), int), "keys": ["0-a-a_0"]}, r"int64 \[1, 3\]"),
        ({"embeddings": np.ones((1, 3)), "keys": ["a_0"]}, "not enough values to unpack"),
    ],
)
def test_other_pickles_are_refused(pickles, content, reason):
    (pickles / "val_embeddings.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=rf"not a pickle of embeddings \(.*{reason}"):
        loaded(pickles)


def test_pickles_that_do_not_fit_together(pickles):
    rows = {"embeddings": np.ones((1, 3), np.float32), "keys": ["0-a-a_0"]}
    (pickles / "val_embeddings.pkl").write_bytes(pickle.dumps(rows))
    with pytest.raises(UserError, match=r"center: embeddings of widths \[3, 6\]"):
        loaded(pickles)
    same = {"embeddings": np.ones((1, 6), np.float32), "keys": ["0-ntrain0-a_0"]}
    (pickles / "val_embeddings.pkl").write_bytes(pickle.dumps(same))
    with pytest.raises(UserError, match="center: class ntrain0 is in train and in val"):
        loaded(pickles)
