"""Networks over many tasks at once, and the general path for a user's own module."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mamlbench.errors import UserError
from mamlbench.networks.layers import Norm, Rows

Params = dict[str, Tensor]

_NORMALISATIONS = (
    Norm,
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
)


class TaskNetwork(nn.Module):
    """A network built of the layers in `mamlbench.networks.layers`.

    `forward` takes x [T, M, ...] and gives [T, M, C]. Its parameters may be its own, shared by all
    tasks, or be replaced by ones with T in front.
    """

    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        """Outputs [T, M, C] of x [T, M, ...]; `rows` says which examples share statistics."""
        raise TypeError(f"{type(self).__name__} does not define forward(x, rows)")

    def norms(self) -> list[Norm]:
        """The normalisation layers, in order."""
        return [module for module in self.modules() if isinstance(module, Norm)]

    @property
    def norm(self) -> str:
        """How the network normalises: `batch`, `support`, `running`, `group` or `none`."""
        kinds = {layer.norm for layer in self.norms()}
        return kinds.pop() if kinds else "none"


def forward(network: nn.Module, params: Mapping[str, Tensor], x: Tensor, rows: Rows) -> Tensor:
    """Outputs [T, M, C] of a network for x [T, M, ...].

    Args:
        network: a `TaskNetwork`, or any module that maps [M, ...] to [M, C] (the general path, by
            vmap: slower, and without random numbers or running statistics inside).
        params: all its parameters by name, each as it is or with T in front.
        x: inputs of all tasks.
        rows: which examples are normalised together.
    """
    if isinstance(network, TaskNetwork):
        return functional_call(network, dict(params), (x, rows))
    if rows.reference is not None:
        raise UserError("network.norm=support: only networks of mamlbench's own layers have it")
    own = dict(network.named_parameters())
    per_task = {name: 0 if p.dim() > own[name].dim() else None for name, p in params.items()}

    def one_batch(p: Params, inputs: Tensor) -> Tensor:
        return functional_call(network, p, (inputs,))

    over_groups = torch.vmap(one_batch, in_dims=(None, 0), randomness="different")
    over_tasks = torch.vmap(over_groups, in_dims=(per_task, 0), randomness="different")
    return over_tasks(dict(params), x.unflatten(1, (rows.groups, -1))).flatten(1, 2)


def norm_parameter_names(network: nn.Module) -> set[str]:
    """Names of the parameters that belong to normalisation layers."""
    return {
        f"{path}.{name}" if path else name
        for path, module in network.named_modules()
        if isinstance(module, _NORMALISATIONS)
        for name, _ in module.named_parameters(recurse=False)
    }
