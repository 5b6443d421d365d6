"""Shapes, sizes and initialisation of the papers' networks."""

from __future__ import annotations

import pytest
import torch

from mamlbench.errors import BadValue, UserError
from mamlbench.networks import MLP, Conv4, LinearClassifier, Rows
from mamlbench.networks.base import forward, norm_parameter_names


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_mamls_sinusoid_network():
    torch.manual_seed(0)
    network = MLP((1,), 1, init="truncated_normal")
    assert count(network) == (40 + 40) + (40 * 40 + 40) + (40 + 1)
    weights = torch.cat([layer.weight.flatten() for layer in network.hidden]).detach()
    assert weights.abs().max() <= 0.02  # truncated at two standard deviations
    assert 0.007 < float(weights.std()) < 0.01
    assert all(float(layer.bias.detach().abs().max()) == 0 for layer in network.hidden)


@pytest.mark.parametrize(
    ("shape", "options", "features"),
    [
        ((1, 28, 28), {"down": "stride", "spatial_mean": True}, 64),  # MAML's Omniglot
        ((1, 28, 28), {"down": "stride"}, 2 * 2 * 64),  # Reptile's Omniglot
        ((3, 84, 84), {"down": "pool", "filters": 32}, 5 * 5 * 32),  # MAML's mini-ImageNet
        ((3, 84, 84), {"down": "pool_same", "filters": 32}, 6 * 6 * 32),  # Reptile's
    ],
)
def test_papers_conv4(shape, options, features):
    network = Conv4(shape, 5, **options)
    filters = options.get("filters", 64)
    assert network.head.weight.shape == (5, features)
    convolutions = 9 * filters * (shape[0] + 3 * filters) + 4 * filters
    assert count(network) == convolutions + 4 * filters + 5 * features + 5
    with torch.no_grad():
        assert network(torch.zeros(1, 2, *shape), Rows()).shape == (1, 2, 5)


def test_pooling_before_or_after_the_activation():
    """They differ for an activation that is not monotonic; for ReLU they are equal."""
    torch.manual_seed(0)
    x, outputs = torch.randn(1, 3, 1, 4, 4), {}
    for order in ("norm_activation_pool", "norm_pool_activation"):
        torch.manual_seed(1)
        network = Conv4((1, 4, 4), 2, filters=2, blocks=1, down="pool", order=order)
        outputs[order, "relu"] = network(x, Rows())
        network.activation = torch.cos
        outputs[order, "cos"] = network(x, Rows())
    first, second = "norm_activation_pool", "norm_pool_activation"
    torch.testing.assert_close(outputs[first, "relu"], outputs[second, "relu"])
    assert not torch.allclose(outputs[first, "cos"], outputs[second, "cos"])


@pytest.mark.parametrize("options", [{}, {"init": "truncated_normal"}])
def test_first_weights_of_every_layer(options):
    """Glorot's uniform weights, or normal ones truncated at two deviations of 0.01; head too."""
    torch.manual_seed(0)
    network = MLP((30,), 50, hidden=(40,), **options)
    for layer in (*network.hidden, network.head):
        weight = layer.weight.detach()
        glorot = (6 / sum(weight.shape)) ** 0.5
        bound = 0.02 if options else glorot
        assert 0.97 * bound < float(weight.abs().max()) <= bound
        deviation = 0.0088 if options else glorot / 3**0.5
        assert float(weight.std()) == pytest.approx(deviation, rel=0.1)
        assert not layer.bias.any()


def test_first_weights_of_convolutions_are_glorots():
    torch.manual_seed(0)
    for conv in Conv4((3, 84, 84), 5, filters=32).convs:
        outputs, inputs = conv.weight.shape[:2]
        bound = (6 / (9 * (inputs + outputs))) ** 0.5  # nine positions per channel
        assert 0.97 * bound < float(conv.weight.detach().abs().max()) <= bound
        assert float(conv.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.05)
        assert not conv.bias.any()


def test_head_of_a_standard_normal():
    torch.manual_seed(0)
    weight = Conv4((1, 28, 28), 20, head_init="normal").head.weight.detach()
    assert 0.95 < float(weight.std()) < 1.05


def test_head_of_zeros():
    network = Conv4((1, 28, 28), 5, head_init="zeros")
    assert not network.head.weight.any()
    assert not network(torch.rand(2, 3, 1, 28, 28), Rows()).any()


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: Conv4((1, 8, 8), 2, down="pool", blocks=4), "blocks"),
        (lambda: Conv4((1,), 2), "_target_"),
        (lambda: Conv4((1, 8, 8), 2, filters=0), "filters"),
        (lambda: Conv4((1, 8, 8), 2, down="half"), "down"),
        (lambda: Conv4((1, 8, 8), 2, order="pool"), "order"),
        (lambda: MLP((1,), 1, hidden=(4, 0)), "hidden"),
        (lambda: MLP((1,), 1, activation="gelu"), "activation"),
        (lambda: MLP((1,), 1, init="zero"), "init"),
    ],
)
def test_bad_values_are_named(make, option):
    with pytest.raises(BadValue) as error:
        make()
    assert error.value.option == option


def test_names_of_norm_parameters():
    network = Conv4((1, 8, 8), 2, filters=2, blocks=1, affine="scale_shift")
    assert norm_parameter_names(network) == {"norm_layers.0.weight", "norm_layers.0.bias"}
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    assert norm_parameter_names(plain) == {"1.weight", "1.bias"}
    assert network.norm == "batch"
    assert MLP((1,), 1).norm == "none"


def test_support_norm_needs_the_projects_layers():
    plain = torch.nn.Linear(1, 1)
    with pytest.raises(UserError, match=r"network\.norm=support"):
        forward(plain, dict(plain.named_parameters()), torch.zeros(1, 2, 1), Rows(reference=1))


def test_groups_of_vectors_that_say_nothing():
    for width, each in ((8, 1), (16, 2)):
        with pytest.raises(BadValue, match=f"norm=group: .*have {each} of {width} numbers in each"):
            MLP((3,), 2, hidden=(width,), norm="group")
        with pytest.raises(BadValue, match="norm=group"):
            LinearClassifier((width,), 2, norm="group")
    assert MLP((3,), 2, hidden=(24, 10, 5), norm="group").norm == "group"
