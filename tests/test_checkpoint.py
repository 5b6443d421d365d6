import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mamlbench import checkpoint
from mamlbench.errors import UserError


def a_state():
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    network(torch.ones(3)).sum().backward()
    optimiser.step()
    generator = np.random.default_rng(0).bit_generator.state
    return {
        "iteration": 7,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "torch_generator": torch.Generator().manual_seed(1).get_state(),
        "numpy_generator": generator,
        "best": None,
        "nested": [1.5, (True, "x", b"y")],
    }


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_what_is_saved_is_what_is_loaded(tmp_path):
    state = a_state()
    checkpoint.save(tmp_path / "checkpoint.pt", state)
    assert same(checkpoint.load(tmp_path / "checkpoint.pt"), state)


def test_equal_states_give_equal_bytes(tmp_path):
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "one.pt", a_state())
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "two.pt", a_state())
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_stopped_while_saving_the_last_checkpoint_stays(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"iteration": 1})

    def stop(*arguments):
        raise KeyboardInterrupt

    for owner, name in ((os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stop)
            with pytest.raises(KeyboardInterrupt):
                checkpoint.save(path, {"iteration": 2})
        assert checkpoint.load(path) == {"iteration": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_value_that_could_not_be_loaded_is_not_saved(tmp_path):
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(TypeError, match=r"state\['losses'\]\[1\] is a float64"):
        checkpoint.save(path, {"losses": [0.5, np.float64(0.25)]})
    assert not path.exists()


class Hostile:
    """An object that creates a file if unpickling runs its code."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


@pytest.mark.parametrize("wrapping", ["pickle", "torch", "torch_legacy"])
def test_code_in_a_checkpoint_never_runs(tmp_path, wrapping):
    path, trace = tmp_path / "hostile.pt", tmp_path / "it_ran"
    state = {**checkpoint.FORMAT, "iteration": Hostile(trace)}
    if wrapping == "pickle":
        path.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=wrapping == "torch")
    with pytest.raises(UserError, match="not a mamlbench checkpoint") as caught:
        checkpoint.load(path)
    assert not trace.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_way_of_being_cut_short_or_damaged(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"iteration": 1, "weights": torch.arange(100.0)})
    whole = path.read_bytes()
    cuts = [whole[:size] for size in (0, 1, 3, 100, len(whole) // 2, len(whole) - 1)]
    weights = torch.arange(100.0).numpy().tobytes()
    place = whole.index(weights) + 40
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    for content in [*cuts, flipped]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"checkpoint\.pt: ") as caught:
            checkpoint.load(path)
        assert "\n" not in str(caught.value)


def test_files_that_are_no_checkpoints(tmp_path):
    text = tmp_path / "text"
    text.write_text("iteration,loss\n")
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme", "hello")
    foreign = tmp_path / "foreign.pt"
    torch.save({"model": torch.zeros(2)}, foreign)
    tensor = tmp_path / "tensor.pt"
    torch.save(torch.zeros(2), tensor)
    for path in (text, archive, foreign, tensor):
        with pytest.raises(UserError, match=f"checkpoint={path}: not a mamlbench checkpoint"):
            checkpoint.load(path)
    with pytest.raises(UserError, match="there is no such file"):
        checkpoint.load(tmp_path / "missing.pt")


def test_a_checkpoint_of_another_format_version(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    with monkeypatch.context() as patch:
        patch.setitem(checkpoint.FORMAT, "version", 2)
        checkpoint.save(path, {})
    with pytest.raises(UserError, match="has format version 2, accepted is version 1"):
        checkpoint.load(path)


def test_resolve_prefers_the_best_checkpoint_of_a_run(tmp_path):
    with pytest.raises(UserError, match=r"a folder without best\.pt or checkpoint\.pt"):
        checkpoint.resolve(tmp_path)
    with pytest.raises(UserError, match="nothing there"):
        checkpoint.resolve(tmp_path / "missing")
    for name in ("checkpoint.pt", "best.pt"):
        (tmp_path / name).write_bytes(b"")
        assert checkpoint.resolve(tmp_path) == tmp_path / name
    assert checkpoint.resolve(tmp_path / "checkpoint.pt") == tmp_path / "checkpoint.pt"
    assert checkpoint.resolve(tmp_path, last=True) == tmp_path / "checkpoint.pt"
    (tmp_path / "checkpoint.pt").unlink()
    assert checkpoint.resolve(tmp_path, last=True) == tmp_path / "best.pt"
