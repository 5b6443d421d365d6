"""A user's own modules give the outputs that a task needs, or are refused; runs with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import runs
import torch
from torch import Tensor, nn

from mamlbench.compose import experiment
from mamlbench.errors import UserError
from mamlbench.networks import require_outputs


class Picture(nn.Module):
    """Linear, for inputs of any shape."""

    def __init__(self, size: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(size, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def test_what_fits_is_taken_and_left_as_it_was():
    network = Picture(4, 3).eval()
    state = torch.get_rng_state()
    require_outputs(network, (1, 2, 2), 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training


def test_other_outputs_are_refused():
    """Otherwise three outputs would each be compared with one target, without an error."""
    with pytest.raises(UserError) as caught:
        require_outputs(nn.Linear(1, 3), (1,), 1)
    assert str(caught.value) == ("network: Linear gives [examples, 3]; accepted is [examples, 1]")
    with pytest.raises(UserError, match=r"gives \[examples, 2, 3\]; accepted is \[examples, 3\]"):
        require_outputs(nn.Linear(1, 3), (2, 1), 3)


def test_what_cannot_be_run_is_refused():
    with pytest.raises(UserError, match=r"network: Linear fails on inputs \[2, 1\]: .*shape"):
        require_outputs(nn.Linear(7, 1), (1,), 1)


@pytest.mark.parametrize(
    ("norm", "what"),
    [
        (nn.BatchNorm1d(2), "BatchNorm1d (1)"),
        (nn.Sequential(nn.BatchNorm1d(2)), "BatchNorm1d (1.0)"),
        (nn.InstanceNorm1d(2, track_running_stats=True), "InstanceNorm1d (1)"),
    ],
)
def test_running_statistics_are_refused(norm, what):
    with pytest.raises(UserError) as caught:
        require_outputs(nn.Sequential(nn.Linear(1, 2), norm, nn.Linear(2, 1)), (1,), 1)
    assert str(caught.value) == (
        f"network: Sequential's {what} keeps running statistics; "
        "accepted is track_running_stats=False"
    )


def test_batch_norm_without_running_statistics_is_taken():
    still = nn.BatchNorm1d(2, track_running_stats=False)
    require_outputs(nn.Sequential(nn.Linear(1, 2), still, nn.Linear(2, 1)), (1,), 1)


class Centred(nn.Linear):
    """Subtracts the running mean of its outputs, which it keeps in a buffer."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        outputs = super().forward(x)
        self.mean = 0.9 * self.mean + 0.1 * outputs.mean(0).detach()
        return outputs - self.mean


class Counting(Centred):
    """Counts its calls in a buffer."""

    def forward(self, x: Tensor) -> Tensor:
        self.mean += 1
        return nn.Linear.forward(self, x)


@pytest.mark.parametrize("kind", [Centred, Counting])
def test_buffers_that_forward_changes_are_refused(kind):
    """A buffer would keep one value for each task of a batch, and the next batch may have more."""
    network = kind()
    with pytest.raises(UserError, match=rf"^network: {kind.__name__} changes its buffer mean; "):
        require_outputs(network, (1,), 1)
    assert not network.mean.any()


class Normalised(nn.Module):
    """Two layers with one of torch's normalisations between them."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, kind: str) -> None:
        super().__init__()
        own = {"track_running_stats": False} if kind == "BatchNorm1d" else {}
        self.norm = getattr(nn, kind)(8, **own)
        self.first, self.head = nn.Linear(*input_shape, 8), nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.first(x)))


@pytest.mark.parametrize(
    ("kind", "transductive", "norm", "words"),
    [
        ("LayerNorm", "true", "none", "2 inner steps, last checkpoint"),
        ("BatchNorm1d", "true", "batch", "2 inner steps, transductive, last"),
        ("BatchNorm1d", "false", "batch", "2 inner steps, each query with the support set, last"),
    ],
)
def test_a_result_says_how_it_was_normalised(
    tmp_path: Path, kind: str, transductive: str, norm: str, words: str
) -> None:
    (tmp_path / "conf/network").mkdir(parents=True)
    yaml = f"_target_: {__name__}.Normalised\nkind: {kind}\n"
    (tmp_path / "conf/network/normalised.yaml").write_text(yaml)
    line = [option for option in runs.RUN if not option.startswith("network.")]
    line += ["network=normalised", f"outputs={tmp_path}", f"evaluation.transductive={transductive}"]
    with runs.without_figures():
        summary = experiment(line, [f"file://{tmp_path / 'conf'}"]).run()
    assert summary["norm"] == norm
    assert words in summary["evaluation"]
