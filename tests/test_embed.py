"""From pictures to embeddings: a classifier of the meta-train classes, and its output."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from mamlbench.cli.data import main
from mamlbench.datasets import Embeddings, Glyphs, ImageDataset
from mamlbench.datasets.embeddings import read_embeddings
from mamlbench.embed import NETWORKS, Pretraining, _Labelled, embed
from mamlbench.errors import UserError
from mamlbench.networks import Conv4, Rows

SIZES = {"train": 8, "val": 5, "test": 5}


@pytest.fixture(autouse=True)
def few_glyphs(monkeypatch):
    """Eighteen characters and a tiny network."""
    monkeypatch.setattr("mamlbench.datasets.glyphs.SIZES", SIZES)

    def tiny(shape, outputs):
        return Conv4(shape, outputs, filters=8, spatial_mean=True, norm="running")

    monkeypatch.setitem(NETWORKS, "small", tiny)


def run(out: Path, say=lambda line: None, epochs: int = 3, lr: float = 0.1) -> None:
    pretraining = Pretraining(network="small", epochs=epochs, batch=20, lr=lr, flip=True)
    embed(Glyphs(), pretraining, out, torch.device("cpu"), say)


def test_it_learns_its_classes_and_writes_all_splits(tmp_path):
    lines: list[str] = []
    out = tmp_path / "glyphs.npz"
    run(out, lines.append, epochs=12)
    accuracies = [float(re.search("accuracy ([0-9.]+)", line)[1]) for line in lines]
    assert len(lines) == 12
    assert accuracies[-1] > 0.5  # among eight classes
    found = read_embeddings(out)
    assert found.images.shape == (18 * 20, 8)
    assert found.counts == (20,) * 18
    assert [name.split("/")[0] for name in found.classes] == [
        s for s in SIZES for _ in range(SIZES[s])
    ]
    dataset = Embeddings(root=str(out), width=8, queries=2)
    dataset.load(torch.device("cpu"))
    assert dataset.splits == ("train", "val", "test")
    assert not (tmp_path / "glyphs.npz.pt").exists()


def test_an_interrupted_pretraining_goes_on(tmp_path):
    run(tmp_path / "whole.npz")

    def interrupted(line: str) -> None:
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts.npz", interrupted)
    assert not (tmp_path / "parts.npz").exists()
    lines: list[str] = []
    run(tmp_path / "parts.npz", lines.append)
    assert lines[0].startswith("goes on after epoch 2")
    assert lines[1].startswith("epoch 3 of 3")
    whole, parts = (read_embeddings(tmp_path / name) for name in ("whole.npz", "parts.npz"))
    assert whole.sha256 == parts.sha256


def test_a_state_of_another_pretraining_is_refused(tmp_path):
    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.npz", interrupted)
    with pytest.raises(Exception, match=r"a.npz.pt: is from another pretraining; remove it"):
        run(tmp_path / "a.npz", lr=0.2)


def test_a_state_of_other_inputs_is_refused(tmp_path):
    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    def begin(dataset: ImageDataset, say=interrupted) -> None:
        how = Pretraining(network="small", epochs=2, batch=20)
        embed(dataset, how, tmp_path / "a.npz", torch.device("cpu"), say)

    with pytest.raises(KeyboardInterrupt):
        begin(Glyphs())
    other = Glyphs()
    other.invert = True
    with pytest.raises(UserError, match=r"a.npz.pt: is from another pretraining; remove it"):
        begin(other)
    lines: list[str] = []
    begin(Glyphs(), lines.append)
    assert lines[0].startswith("goes on after epoch 1")


def test_classes_in_any_order_keep_their_own_labels():
    class Shuffled(Glyphs):
        def split_classes(self, images):
            return super().split_classes(images) | {"train": np.array([5, 0, 7, 2])}

    dataset = Shuffled()
    images = dataset.read()
    labelled, counts = _Labelled.of(dataset, images), images.counts
    owner = np.repeat(np.arange(len(counts)), counts)[labelled.rows]
    assert labelled.classes == 4
    assert set(zip(owner.tolist(), labelled.labels.tolist(), strict=True)) == {
        (0, 0),
        (2, 1),
        (5, 2),
        (7, 3),
    }


def test_two_at_once(tmp_path, capsys):
    out = tmp_path / "x.npz"
    with FileLock(f"{out}.lock"):
        assert main(["embed", "glyphs", "--network", "small", "--out", str(out)]) == 75
    assert f"{out}: another process is working on it" in capsys.readouterr().err


def test_an_embedding_depends_on_no_other_image():
    for name in ("small", "wrn16_4"):
        torch.manual_seed(0)
        network = NETWORKS[name]((1, 28, 28), 4).eval()
        x = torch.rand(1, 3, 1, 28, 28)
        with torch.no_grad():
            together, alone = network.embedding(x, Rows()), network.embedding(x[:, 1:2], Rows())
        torch.testing.assert_close(together[:, 1:2], alone, rtol=1e-4, atol=1e-5)


def test_the_command(tmp_path, capsys):
    out = tmp_path / "made" / "glyphs.npz"
    command = ["embed", "glyphs", "--network", "small", "--epochs", "1", "--threads", "1"]
    assert main([*command, "--out", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("epoch 1 of 1: loss ")
    assert printed[1] == f"{out}: 360 embeddings of width 8"
    assert printed[2] == f"mamlbench dataset=embeddings dataset.root={out} dataset.width=8"
    assert np.isfinite(read_embeddings(out).images).all()
    assert main([*command, "--out", str(out)]) == 2
    assert f"--out {out}: already exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["celeba"], "celeba: has attributes and no classes; accepted is another dataset"),
        (["glyfs"], "no dataset glyfs: .*did you mean 'glyphs'"),
        (["glyphs", "--network", "smal"], r"network=smal: accepted is .*did you mean 'small'"),
        (["glyphs", "--epochs", "0"], "epochs=0: accepted is 1 or more"),
        (["glyphs", "--batch", "1"], "batch=1: accepted is 2 or more"),
        (["glyphs", "--lr", "0"], r"lr=0.0: accepted is more than 0"),
        (["glyphs", "--device", "tpu"], "device=tpu: accepted is cpu, cuda or cuda:N"),
        (["glyphs", "--network", "small", "--lr", "1e30"], "epoch 1 of 60: the loss is not finite"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, capsys, arguments, message):
    assert main(["embed", *arguments, "--threads", "1", "--out", str(tmp_path / "x.npz")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


def test_what_is_written_of_an_image_depends_on_no_other(tmp_path, monkeypatch):
    found = []
    for count in (200, 7):
        monkeypatch.setattr("mamlbench.embed._EMBEDDED_AT_ONCE", count)
        run(tmp_path / f"{count}.npz", epochs=1)
        found.append(read_embeddings(tmp_path / f"{count}.npz").images)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)
