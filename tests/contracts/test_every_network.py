"""What holds for every network that has a config."""

from __future__ import annotations

import pytest
import torch
from registered import composed

from mamlbench.config.build import build
from mamlbench.config.tree import ConfigTree
from mamlbench.networks import Rows
from mamlbench.networks.base import forward

pytestmark = pytest.mark.parametrize("choice", ConfigTree().choices("network"))


def built(choice, seed=0, **options):
    node = composed("dataset=omniglot", f"network={choice}")["network"]
    if "width" in node:  # makes a deep network small
        node |= {"depth": 10, "width": 1, "embedding_layer": 5}
    torch.manual_seed(seed)
    return build(node | options, "network", input_shape=(1, 28, 28), outputs=6).double()


def inputs(tasks, rows=4):
    return torch.rand(tasks, rows, 1, 28, 28, generator=torch.Generator().manual_seed(1)).double()


def test_each_task_may_have_its_own_parameters(choice):
    networks, x = [built(choice, seed) for seed in range(3)], inputs(3)
    own = zip(*(n.parameters() for n in networks), strict=True)
    names = [name for name, _ in networks[0].named_parameters()]
    params = dict(zip(names, map(torch.stack, own), strict=True))
    with torch.no_grad():
        together = forward(networks[0], params, x, Rows())
        assert together.shape == (3, 4, 6)
        for task, network in enumerate(networks):
            alone = network(x[task : task + 1], Rows())
            torch.testing.assert_close(together[task : task + 1], alone, rtol=1e-10, atol=1e-12)


def test_shared_parameters_equal_copies_of_them(choice):
    network, x = built(choice), inputs(2)
    copies = {name: p.expand(2, *p.shape) for name, p in network.named_parameters()}
    with torch.no_grad():
        torch.testing.assert_close(
            network(x, Rows()), forward(network, copies, x, Rows()), rtol=1e-10, atol=1e-12
        )


def test_initial_parameters_are_a_function_of_torchs_seed(choice):
    first, again, other = (built(choice, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("norm", ["batch", "support", "running", "group", "none"])
def test_every_norm(choice, norm):
    network, x = built(choice, norm=norm), inputs(2, rows=6)
    assert network.norm == norm
    rows = Rows(reference=4) if norm == "support" else Rows()
    outputs = network(x, rows)
    outputs.square().sum().backward()
    assert outputs.shape == (2, 6, 6)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    if norm in ("group", "none"):  # no example sees another
        torch.testing.assert_close(network(x[:, :1], Rows()), outputs[:, :1])
    if norm == "support":  # nor do examples after the reference
        torch.testing.assert_close(network(x[:, :5], rows)[:, 4], outputs[:, 4])
