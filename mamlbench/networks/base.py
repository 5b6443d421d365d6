"""Networks that run on many tasks at once, and the general path for a user's own modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from typing_extensions import Self

from mamlbench.errors import UserError
from mamlbench.networks.layers import Linear, Norm, Rows

Params = dict[str, Tensor]

_NORMALISATIONS = (
    Norm,
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
)


class TaskNetwork(nn.Module):
    """A network built of the layers in `mamlbench.networks.layers`.

    `forward` maps x [T, M, ...] to [T, M, C]. All tasks share the network's own parameters, unless
    they are replaced by parameters with T in front. A subclass implements `features`.

    Attributes:
        input_shape: shape of one input.
        head: the last layer, from D features to C outputs.
    """

    input_shape: tuple[int, ...]
    head: Linear

    made_with: tuple[tuple[Any, ...], dict[str, Any]]
    """The constructor's arguments, from which `alike` makes another network."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Record the arguments; `__init__` uses them."""
        network = super().__new__(cls)
        network.__dict__["made_with"] = args, options  # nn.Module is not ready for attributes yet
        return network

    def features(self, x: Tensor, rows: Rows) -> Tensor:
        """The inputs of `head`, [T, M, D]; `rows` says which examples share statistics."""
        raise TypeError(f"{type(self).__name__} does not define features(x, rows)")

    def embedding(self, x: Tensor, rows: Rows) -> Tensor:
        """What another learner uses instead of x, [T, M, D]; by default the features."""
        return self.features(x, rows)

    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        """Outputs [T, M, C] of x [T, M, ...]."""
        return self.head(self.features(x, rows))

    def norms(self) -> list[Norm]:
        """The normalisation layers, in order."""
        return [module for module in self.modules() if isinstance(module, Norm)]

    @property
    def norm(self) -> str:
        """How the network normalises: `batch`, `support`, `running`, `group` or `none`."""
        kinds = {layer.norm for layer in self.norms()}
        return kinds.pop() if kinds else "none"


def norm_of(network: nn.Module) -> str:
    """`TaskNetwork.norm`; of any other module `batch` if it has torch's batch norm, else `none`."""
    if isinstance(network, TaskNetwork):
        return network.norm
    batch_norm = nn.modules.batchnorm._BatchNorm
    return "batch" if any(isinstance(m, batch_norm) for m in network.modules()) else "none"


def forward(network: nn.Module, params: Mapping[str, Tensor], x: Tensor, rows: Rows) -> Tensor:
    """Outputs [T, M, C] of a network for x [T, M, ...].

    Args:
        network: a `TaskNetwork`, or any module that maps [M, ...] to [M, C] (the general path, by
            vmap: slower, without running statistics, and with random numbers that do not depend on
            the tasks' seeds).
        params: all parameters by name, each either shared or with T in front.
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


def gradients(
    function: Callable[[Params], Tensor], params: Params, names: Sequence[str], create_graph: bool
) -> tuple[Params, Tensor]:
    """Gradients of the sum of a function's values by the named parameters, and the values.

    With `create_graph` the gradients can be differentiated again; otherwise they are constants.
    """
    with torch.enable_grad():
        points = {
            name: params[name] if create_graph else params[name].detach().requires_grad_()
            for name in names
        }
        values = function(params | points)
        found = torch.autograd.grad(values.sum(), list(points.values()), create_graph=create_graph)
    return dict(zip(points, found, strict=True)), values


def require_outputs(network: nn.Module, input_shape: Sequence[int], outputs: int) -> None:
    """Check that a user's own module has as many outputs as a task needs.

    Losses would accept other numbers of outputs without an error.

    Raises:
        UserError: a wrong number of outputs, or a module that cannot run on several tasks at once:
            it fails, keeps running statistics, or changes its buffers.
    """
    if isinstance(network, TaskNetwork):
        return
    name, alone = type(network).__name__, copy.deepcopy(network).train()
    for path, module in alone.named_modules():
        if module.training and getattr(module, "track_running_stats", False):
            norm = f"{type(module).__name__} ({path})" if path else "batch norm"
            accepted = "accepted is track_running_stats=False"
            raise UserError(f"network: {name}'s {norm} keeps running statistics; {accepted}")
    before = {path: (buffer, buffer._version) for path, buffer in alone.named_buffers()}
    x = torch.zeros(1, 2, *input_shape)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = forward(alone, dict(alone.named_parameters()), x, Rows()).shape[2:]
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        why = str(error).strip().splitlines()[0]
        raise UserError(f"network: {name} fails on inputs {list(x.shape[1:])}: {why}") from error
    for path, buffer in alone.named_buffers():
        was, version = before.get(path, (buffer, buffer._version))
        if buffer is not was or buffer._version != version:
            accepted = "accepted is a forward that changes nothing: tasks run at once"
            raise UserError(f"network: {name} changes its buffer {path}; {accepted}")
    if found != (outputs,):
        accepted = f"accepted is [examples, {outputs}]"
        raise UserError(f"network: {name} gives [examples, {str([*found])[1:-1]}]; {accepted}")


def trainable_names(network: nn.Module) -> list[str]:
    """Names of the parameters that are not frozen by `requires_grad=False`."""
    return [name for name, value in network.named_parameters() if value.requires_grad]


def norm_parameter_names(network: nn.Module) -> set[str]:
    """Names of the parameters that belong to normalisation layers."""
    return {
        f"{path}.{name}" if path else name
        for path, module in network.named_modules()
        if isinstance(module, _NORMALISATIONS)
        for name, _ in module.named_parameters(recurse=False)
    }


def alike(network: nn.Module) -> nn.Module:
    """Another network of the same kind, with newly drawn initial parameters.

    Raises:
        UserError: a module from outside this package lacks `reset_parameters`, which torch's own
            layers have.
    """
    if isinstance(network, TaskNetwork):
        args, options = network.made_with
        return type(network)(*args, **options)
    other = copy.deepcopy(network)
    for module in other.modules():
        if next(module.parameters(recurse=False), None) is None:
            continue
        reset = getattr(module, "reset_parameters", None)
        if reset is None:
            kind = type(module).__name__
            raise UserError(
                f"network: {kind} cannot draw new initial parameters; give it a method "
                "reset_parameters()"
            )
        reset()
    return other
