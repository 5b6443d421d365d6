"""First weights of every layer."""

import pytest
import torch

from mamlbench.networks import MLP, Conv4


@pytest.mark.parametrize("options", [{}, {"init": "truncated_normal"}])
def test_first_weights_of_every_layer(options):
    """Glorot's uniform weights, or normal ones cut at two deviations of 0.01; the head's too."""
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
        bound = (6 / (9 * (inputs + outputs))) ** 0.5  # nine places of each channel
        assert 0.97 * bound < float(conv.weight.detach().abs().max()) <= bound
        assert float(conv.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.05)
        assert not conv.bias.any()
