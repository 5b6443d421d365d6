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
"""From what one process has to the mean over all that share the tasks; of one, as it is."""

_NO_RESIDUAL = 1e-10  # squared length at which conjugate gradients have nothing left to do

KEPT_TRIALS = 24
"""Trials whose graphs are kept from one product to the next; those of others are made anew."""


@dataclass(frozen=True)
class Trial:
    """What a policy gains and how far it moves; both are sums over several trials.

    Attributes:
        outputs: of the policy with the parameters as they stand.
        gain: a scalar, of outputs.
        divergence: a scalar, of outputs; least at those of the old policy.
    """

    outputs: Callable[[], Tensor]
    gain: Product
    divergence: Product


def as_it_is(values: Tensor) -> Tensor:
    """The `Mean` of one process."""
    return values


class TrustRegion(torch.optim.Optimizer):
    """The largest step along the natural gradient that keeps the policies near the old ones.

    Maximises the gain subject to a mean KL divergence of at most `lr` (appendix C): conjugate
    gradients solve F s = g with exact products of the Fisher matrix F, s is scaled to the edge of
    the trust region, and shrunk until the gain is better and the bound holds; where that never
    happens, the parameters stay.

    Args:
        params: the parameters; their `.grad` is that of minus the gain.
        lr: bound on the mean KL divergence of one step, in nats.
        cg_steps: iterations of conjugate gradients.
        damping: added to the diagonal of F.
        shrink: factor from one length to the next.
        lengths: how many lengths are tried.

    Attributes:
        taken: of the last step, its length as a part of the longest (0: the parameters stayed), and
            the mean KL divergence that it came to.
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
            closure: trials whose sums are the gain and the divergence. Those of one
                `torch.optim` closure, in parts, so that no graph is larger than a part's.
            mean: over processes, of what the trials sum up to.
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
    """v to (F + damping) v, with F = Σ JᵀMJ the Fisher matrix of the policies in the parameters.

    J is the derivative of a trial's outputs in the parameters, M the Hessian of its divergence in
    the outputs. At the old policy, where the divergence is least, F is its Hessian.
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
    """v to JᵀMJ v of one trial."""
    outputs = trial.outputs()
    # Jᵀu is linear in u: its derivative in u, along v, is Jv
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
    """x with product(x) near b, for a symmetric positive definite product; starts at 0."""
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
    """Gain and divergence of all trials together."""
    pairs = []
    for trial in trials:
        outputs = trial.outputs()
        pairs.append(torch.stack([trial.gain(outputs), trial.divergence(outputs)]).double())
    gain, divergence = mean(torch.stack(pairs).sum(0)).tolist()
    return gain, divergence


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All values in one vector, detached from nothing."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
