"""Wide residual networks against torch's own layers, and their sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mamlbench.errors import BadValue
from mamlbench.networks import LinearClassifier, Rows, WideResNet


def wrn(**options: object) -> WideResNet:
    torch.manual_seed(1)
    small = {"depth": 16, "width": 1, "embedding_layer": 5, "norm": "none"}
    network = WideResNet((3, 12, 12), 4, **(small | options)).double()
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1 * torch.randn_like(p)
    return network


def block(part, x: Tensor, norm) -> Tensor:
    """A block on [M, C, H, W] by torch; padding is symmetric for stride 1 or odd sides."""
    seen = F.relu(norm(x, part.first_norm))
    # SAME padding: with stride 2 an even side is padded only after the last row
    even = part.stride == 2 and seen.shape[-1] % 2 == 0
    padded = F.pad(seen, (0, 1, 0, 1) if even else (1, 1, 1, 1))
    y = F.conv2d(padded, part.first.weight, part.first.bias, stride=part.stride)
    y = F.conv2d(F.relu(norm(y, part.second_norm)), part.second.weight, part.second.bias, padding=1)
    if part.projection is None:
        return x + y
    kernel = part.projection.weight[..., None, None]
    return y + F.conv2d(seen, kernel, part.projection.bias, stride=part.stride)


def by_torch(network: WideResNet, x: Tensor, blocks: int) -> Tensor:
    def norm(x, layer):
        if layer.norm == "none":
            return x
        return F.batch_norm(x, None, None, layer.weight, layer.bias, True, 0.0, layer.eps)

    x = F.conv2d(x, network.conv.weight, network.conv.bias, padding=1)
    for part in network.blocks[:blocks]:
        x = block(part, x, norm)
    after = network.blocks[blocks].first_norm if blocks < 6 else network.norm_layer
    return F.relu(norm(x, after)).mean((2, 3))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_against_torch(norm):
    network, x = wrn(norm=norm), torch.rand(1, 5, 3, 12, 12, dtype=torch.float64)
    features = by_torch(network, x[0], 6)
    assert features.shape == (5, 64)
    torch.testing.assert_close(network.features(x, Rows())[0], features)
    torch.testing.assert_close(network.embedding(x, Rows())[0], by_torch(network, x[0], 2))
    expected = features @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(network(x, Rows())[0], expected)


def test_wrn_28_10_has_its_published_size():
    """36,479,194 parameters for CIFAR-10 as published, without our convolutions' biases."""
    with torch.device("meta"):
        network = WideResNet((3, 32, 32), 10, depth=28, width=10, embedding_layer=21)
    biases = sum(
        p.numel()
        for name, p in network.named_parameters()
        if name.endswith("bias") and "norm" not in name and "head" not in name
    )
    assert sum(p.numel() for p in network.parameters()) - biases == 36_479_194
    assert network.head.weight.shape[1] == 640
    assert len(network.blocks) == 12
    assert network._embedded == 10  # 1 + 2 * 10 = 21


def test_without_an_embedding_layer_embeddings_are_the_features():
    network, x = wrn(embedding_layer=None), torch.rand(2, 3, 3, 12, 12, dtype=torch.float64)
    assert torch.equal(network.embedding(x, Rows()), network.features(x, Rows()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 12}, r"depth=12: accepted is 10, 16, 22, 28, ... \(6 n \+ 4\)"),
        ({"depth": 4}, "depth=4"),
        ({"width": 0}, "width=0: accepted is 1 or more"),
        (
            {"embedding_layer": 14},
            "embedding_layer=14: accepted is null, or an odd .* from 3 to 13",
        ),
        ({"embedding_layer": 1}, "embedding_layer=1"),
    ],
)
def test_bad_values(options, message):
    with pytest.raises(BadValue, match=message):
        wrn(**options)


def test_only_for_images():
    with pytest.raises(BadValue, match=r"_target_=WideResNet: .* shape \[1\], say linear"):
        WideResNet((1,), 1)


def test_a_linear_classifier_by_hand():
    network = LinearClassifier((2,), 2)
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
    found = network(torch.tensor([[[3.0, 4.0]]]), Rows())
    assert found.tolist() == [[[11.0, -4.0]]]
    assert torch.equal(network.features(torch.ones(1, 3, 2), Rows()), torch.ones(1, 3, 2))
