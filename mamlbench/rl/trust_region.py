"""Trust region policy optimisation, as an outer optimiser (Schulman et al., arXiv 1502.05477)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from typing_extensions import override

Product = Callable[[Tensor], Tensor]

Mean = Callable[[Tensor], Tensor]
"""From one process's values to the mean over all processes that share the tasks."""

_NO_RESIDUAL = 1e-10  # squared length of the residual below which conjugate gradients stop

KEPT_TRIALS = 24
"""Trials whose graphs are kept between products; the graphs of further trials are rebuilt."""


@dataclass(frozen=True)
class Trial:
    """How much a policy gains and how far it moves; trials add up to the totals of both.

    Attributes:
        outputs: the policy's outputs with the current parameters.
        gain: from outputs to a scalar.
        divergence: from outputs to a scalar, smallest at the old policy's outputs.
    """

    outputs: Callable[[], Tensor]
    gain: Product
    divergence: Product


def as_it_is(values: Tensor) -> Tensor:
    """The `Mean` of a single process."""
    return values


class TrustRegion(torch.optim.Optimizer):
    """The largest step along the natural gradient that keeps the policies near the old ones.

    Maximises the gain subject to a mean KL divergence of at most `lr` (appendix C): conjugate
    gradients solve F s = g with exact products with the Fisher matrix F; s is scaled to the edge of
    the trust region, then shrunk until the gain improves and the bound holds. If that never
    happens, the parameters do not change.

    Args:
        params: the parameters; their `.grad` is the gradient of minus the gain.
        lr: bound on the mean KL divergence of one step, in nats.
        cg_steps: iterations of conjugate gradients.
        damping: added to the diagonal of F.
        shrink: factor from one length to the next.
        lengths: how many lengths are tried.

    Attributes:
        taken: the last step's length as a fraction of the longest (0: the parameters did not
            change), and the resulting mean KL divergence.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 0.01,
        cg_steps: int = 10,
        damping: float = 1e-5,
        shrink: float = 0.8,
        lengths: int = 15,
    ) -> None:
        super().__init__(params, {"lr": lr})
        self.cg_steps, self.damping = cg_steps, damping
        self.shrink, self.lengths = shrink, lengths
        self.taken = (0.0, 0.0)

    @override
    def step(  # type: ignore[override]
        self, closure: Sequence[Trial], mean: Mean = as_it_is
    ) -> None:
        """One step.

        Args:
            closure: trials whose gains and divergences add up to the totals. They replace the
                single closure of `torch.optim` so that no graph is larger than one part's.
            mean: over processes, of the trials' sums.
        """
        self.taken = (0.0, 0.0)
        bound = self.param_groups[0]["lr"]
        parameters = [p for group in self.param_groups for p in group["params"]]
        parameters = [p for p in parameters if p.grad is not None]
        ascent = -flat([p.grad for p in parameters])
        if not ascent.any():
            return
        product = fisher_product(closure, parameters, self.damping, mean)
        direction = conjugate_gradients(product, ascent, self.cg_steps)
        curvature = float(direction @ product(direction))
        if not (curvature > 0.0 and math.isfinite(curvature)):
            return
        longest = math.sqrt(2.0 * bound / curvature) * direction
        self._search(partial(summed, closure, mean), parameters, longest, bound)

    @torch.no_grad()
    def _search(
        self,
        measure: Callable[[], tuple[float, float]],
        parameters: list[nn.Parameter],
        longest: Tensor,
        bound: float,
    ) -> None:
        old, (before, _) = flat(parameters), measure()
        for place in range(self.lengths):
            nn.utils.vector_to_parameters(old + self.shrink**place * longest, parameters)
            gain, divergence = measure()
            if gain > before and divergence <= bound:  # never true of NaN
                self.taken = (self.shrink**place, divergence)
                return
        nn.utils.vector_to_parameters(old, parameters)


def fisher_product(
    trials: Sequence[Trial], parameters: Sequence[Tensor], damping: float, mean: Mean = as_it_is
) -> Product:
    """The map from v to (F + damping) v, with F = Σ JᵀMJ the Fisher matrix of the policies.

    J is the Jacobian of a trial's outputs with respect to the parameters, M the Hessian of its
    divergence with respect to the outputs. At the old policy, where the divergence is smallest, F
    is the Hessian of the divergence with respect to the parameters.
    """
    kept = [_part(trial, parameters) for trial in trials[:KEPT_TRIALS]]

    def product(v: Tensor) -> Tensor:
        result = torch.zeros_like(v)
        for part in kept:
            result = result + part(v)
        for trial in trials[KEPT_TRIALS:]:
            result = result + _part(trial, parameters)(v)
        return damping * v + mean(result)

    return product


@torch.enable_grad()
def _part(trial: Trial, parameters: Sequence[Tensor]) -> Product:
    """The map from v to JᵀMJ v for one trial."""
    outputs = trial.outputs()
    # Jᵀu is linear in u: the derivative of its product with v, with respect to u, is Jv
    u = torch.zeros_like(outputs, requires_grad=True)
    backwards = torch.autograd.grad(
        outputs, parameters, u, create_graph=True, materialize_grads=True
    )
    leaf = outputs.detach().requires_grad_()
    (slope,) = torch.autograd.grad(trial.divergence(leaf), leaf, create_graph=True)

    def product(v: Tensor) -> Tensor:
        (along,) = torch.autograd.grad(flat(backwards) @ v, u, retain_graph=True)
        (bent,) = torch.autograd.grad(slope, leaf, along, retain_graph=True)
        parts = torch.autograd.grad(
            outputs, parameters, bent, retain_graph=True, materialize_grads=True
        )
        return flat(parts)

    return product


def conjugate_gradients(product: Product, b: Tensor, steps: int) -> Tensor:
    """x with product(x) ≈ b, for a symmetric positive definite product; starts at 0."""
    x, residual, direction = torch.zeros_like(b), b, b
    size = residual @ residual
    for _ in range(steps):
        if size < _NO_RESIDUAL:
            break
        image = product(direction)
        length = size / (direction @ image)
        x, residual = x + length * direction, residual - length * image
        before, size = size, residual @ residual
        direction = residual + (size / before) * direction
    return x


@torch.no_grad()
def summed(trials: Sequence[Trial], mean: Mean = as_it_is) -> tuple[float, float]:
    """Total gain and divergence of all trials."""
    pairs = []
    for trial in trials:
        outputs = trial.outputs()
        pairs.append(torch.stack([trial.gain(outputs), trial.divergence(outputs)]).double())
    gain, divergence = mean(torch.stack(pairs).sum(0)).tolist()
    return gain, divergence


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All values in one vector, which keeps their graph."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
