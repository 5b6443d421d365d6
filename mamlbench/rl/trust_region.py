"""Trust region policy optimisation, as an outer optimiser (Schulman et al., arXiv 1502.05477)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from typing_extensions import override

Mean = Callable[[Tensor], Tensor]
"""From what one process has to the mean over all that share the tasks; of one, as it is."""

Trial = Callable[[], tuple[Tensor, Tensor]]
"""Gain and divergence, scalars, of the parameters as they stand; both sums over several trials."""


def as_it_is(values: Tensor) -> Tensor:
    """The `Mean` of one process."""
    return values


class TrustRegion(torch.optim.Optimizer):
    """The largest step along the natural gradient that keeps the policies near the old ones.

    Maximises the gain subject to a mean KL divergence of at most `lr` (appendix C): conjugate
    gradients solve F s = g with exact products of the divergence's Hessian F, s is scaled to the
    edge of the trust region, and shrunk until the gain is better and the bound holds; where that
    never happens, the parameters stay.

    Args:
        params: the parameters; their `.grad` is that of minus the gain.
        lr: bound on the mean KL divergence of one step, in nats.
        cg_steps: iterations of conjugate gradients.
        damping: added to the diagonal of F.
        shrink: factor from one length to the next.
        lengths: how many lengths are tried.
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
        bound = self.param_groups[0]["lr"]
        parameters = [p for group in self.param_groups for p in group["params"]]
        parameters = [p for p in parameters if p.grad is not None]
        ascent = -flat([p.grad for p in parameters])
        if not ascent.any():
            return
        product = hessian_product(closure, parameters, self.damping, mean)
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
                return
        nn.utils.vector_to_parameters(old, parameters)


def hessian_product(
    trials: Sequence[Trial], parameters: Sequence[Tensor], damping: float, mean: Mean = as_it_is
) -> Callable[[Tensor], Tensor]:
    """v to (H + damping) v, with H the Hessian of the divergence in the parameters.

    Where the divergence is least, as it is at the old policy, H is the Fisher matrix of the
    policies in the parameters.
    """

    def slope(trial: Trial) -> Tensor:
        with torch.enable_grad():
            _, divergence = trial()
            gradient = torch.autograd.grad(
                divergence, parameters, create_graph=True, materialize_grads=True
            )
            return flat(gradient)

    kept = slope(trials[0]) if len(trials) == 1 else None

    def product(v: Tensor) -> Tensor:
        result = torch.zeros_like(v)
        for trial in trials:
            along = slope(trial) if kept is None else kept
            parts = torch.autograd.grad(
                along @ v, parameters, retain_graph=kept is not None, materialize_grads=True
            )
            result = result + flat(parts)
        return damping * v + mean(result)

    return product


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], b: Tensor, steps: int, tolerance: float = 1e-10
) -> Tensor:
    """x with product(x) near b, for a symmetric positive definite product; starts at 0."""
    x, residual, direction = torch.zeros_like(b), b, b
    size = residual @ residual
    for _ in range(steps):
        if size < tolerance:
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
    pairs = [torch.stack(trial()).double() for trial in trials]
    gain, divergence = mean(torch.stack(pairs).sum(0)).tolist()
    return gain, divergence


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All values in one vector, detached from nothing."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
