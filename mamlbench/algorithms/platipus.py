"""PLATIPUS, or probabilistic MAML (Finn, Xu and Levine, NeurIPS 2018, arXiv 1806.02817)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.base import MetaLearner
from mamlbench.algorithms.finite import NonFiniteError
from mamlbench.algorithms.samples import as_params, as_vectors, expected_loss, fixed, repeated
from mamlbench.errors import one_of, require
from mamlbench.networks.base import Params
from mamlbench.noise import normal
from mamlbench.objectives import Objective
from mamlbench.tasks import Examples, TaskBatch

_FROM_POSTERIOR, _FROM_PRIOR = 0, 1  # places of the noise


@dataclass(frozen=True)
class Gaussian:
    """Normal distributions with diagonal covariances, one per task.

    Attributes:
        mean: [T, D].
        log_variance: [D], the same for all tasks.
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Samples [T, P, D] from noise N(0, I) [T, P, D], differentiable in mean and variance."""
        return self.mean.unsqueeze(1) + (0.5 * self.log_variance).exp() * noise

    def divergence(self, other: Gaussian) -> Tensor:
        """KL(self || other) in nats, [T]: the sum over the D dimensions."""
        log_ratio = self.log_variance - other.log_variance
        shift = (self.mean - other.mean).square() * (-other.log_variance).exp()
        return 0.5 * (log_ratio.exp() + shift - 1.0 - log_ratio).sum(-1)


class PLATIPUS(MetaLearner):
    """Learn a distribution over initial parameters, from which each task draws several learners.

    The meta-parameters are Θ = {μ_θ, σ²_θ, v_q, γ_p, γ_q}: the network's parameters are μ_θ, and
    the variances are diagonal and stored as logarithms. Network parameters that the inner loop does
    not adapt (those of normalisation layers, unless `adapt_norm`) have one value and no variance.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        kl_weight: factor on KL(q || p), after the reduction.
        kl_reduction: `sum` over the D weights; `mean` over them; `per_query`: the sum divided by
            the number M of query examples, as the loss is. With `per_query`, the variational bound
            needs a `kl_weight` of 1 in classification, and of 2 s² in regression, where the loss
            is the squared error and s the standard deviation of the targets' noise.
        prior_std: initial σ_θ of each weight.
        posterior_std: initial root of v_q of each weight.
        gamma_p: initial size of the step from μ_θ to the mean of p, on the support loss.
        gamma_q: initial size of the step from μ_θ to the mean of q, on the query loss.
        train_particles: samples per task in a meta-training step.
        particles: P, samples per task at meta-test.
        options: the arguments of `MetaLearner`.

    Raises:
        BadValue: an argument outside of its range.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        kl_weight: float = 1e-6,
        kl_reduction: str = "sum",
        prior_std: float = 0.02,
        posterior_std: float = 0.02,
        gamma_p: float = 0.01,
        gamma_q: float = 0.01,
        train_particles: int = 1,
        particles: int = 10,
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        one_of("kl_reduction", kl_reduction, ("sum", "mean", "per_query"))
        require(kl_weight >= 0 and math.isfinite(kl_weight), "kl_weight", kl_weight, "0 or more")
        accepted = "1e-18 to 1e18: its square must be finite and not 0"
        for option, std in (("prior_std", prior_std), ("posterior_std", posterior_std)):
            require(1e-18 <= std <= 1e18, option, std, accepted)
        for option, rate in (("gamma_p", gamma_p), ("gamma_q", gamma_q)):
            require(math.isfinite(rate), option, rate, "a finite number")
        for option, count in (("train_particles", train_particles), ("particles", particles)):
            require(count >= 1, option, count, "1 or more")
        self.kl_weight, self.kl_reduction = kl_weight, kl_reduction
        self.train_particles, self.particles = train_particles, particles
        own = dict(network.named_parameters())
        weights = sum(own[name].numel() for name in self.adapted_names)
        self.log_prior_variance = nn.Parameter(torch.full((weights,), 2 * math.log(prior_std)))
        self.log_posterior_variance = nn.Parameter(
            torch.full((weights,), 2 * math.log(posterior_std))
        )
        self.gamma_p = nn.Parameter(torch.tensor(float(gamma_p)))
        self.gamma_q = nn.Parameter(torch.tensor(float(gamma_q)))

    def prior(self, support: Examples) -> Gaussian:
        """p(θ | D_train) = N(μ_θ − γ_p ∇L(μ_θ, D_train), σ²_θ)."""
        return Gaussian(self._shifted_mean(support, self.gamma_p), self.log_prior_variance)

    def posterior(self, query: Examples) -> Gaussian:
        """q(θ | D_test) = N(μ_θ − γ_q ∇L(μ_θ, D_test), v_q), which uses the query labels."""
        return Gaussian(self._shifted_mean(query, self.gamma_q), self.log_posterior_variance)

    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """Algorithm 2, meta-test: θ ~ p(θ | D_train), then gradient descent from each sample.

        The parameters after 0 steps are the samples themselves. Query labels are not used.
        """
        support = fixed(support)
        noise = self._noise(support, self.particles, _FROM_PRIOR)
        theta = self.prior(support).sample(noise)
        return self._descend_from(theta, support, self.inner_steps if steps is None else steps)

    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Algorithm 1, meta-training: θ ~ q, φ = θ − α ∇L(θ, D_train), L(φ, D_test) + KL(q || p).

        Metrics include `kl` in nats, summed over the weights whatever the `kl_reduction`.
        """
        q, p = self.posterior(tasks.query), self.prior(tasks.support)
        noise = self._noise(tasks.support, self.train_particles, _FROM_POSTERIOR)
        adapted = self._descend_from(q.sample(noise), tasks.support, self.inner_steps)
        outputs = self.predict(adapted, tasks.query.x)
        kl = q.divergence(p)
        loss = expected_loss(self.objective, outputs, tasks.query.y)
        loss = loss + self.kl_weight * kl / self._reduced_by(tasks)
        with torch.no_grad():
            metrics = self.objective.metrics(outputs, tasks.query.y)
        return loss, metrics | {"kl": kl}

    def _reduced_by(self, tasks: TaskBatch) -> int:
        counts = {
            "sum": 1,
            "mean": len(self.log_prior_variance),
            "per_query": max(1, tasks.query.x.shape[1]),
        }
        return counts[self.kl_reduction]

    def _shifted_mean(self, examples: Examples, rate: Tensor) -> Tensor:
        """μ_θ after one step on the mean loss of the examples, [T, D]."""
        mean = self.initial(len(examples))
        gradient, _ = self.inner_gradient(mean, examples, torch.is_grad_enabled())
        names = self.adapted_names
        return as_vectors(mean, names) - rate * as_vectors(gradient, names)

    def _noise(self, support: Examples, particles: int, place: int) -> Tensor:
        variance = self.log_prior_variance
        return normal(support, (particles, len(variance)), place, variance)

    def _descend_from(self, theta: Tensor, support: Examples, steps: int) -> Adapted:
        """Gradient descent on the support loss from samples [T, P, D]."""
        particles = theta.shape[1]
        batch, names = repeated(support, particles), self.adapted_names
        params = [as_params(theta.flatten(0, 1), self.initial(len(support)), names)]
        for _ in range(steps):
            params.append(self.inner_step(partial(self._descend, batch), params[-1]))
        return self.adapted(params, support, particles)

    def _descend(self, batch: Examples, params: Params) -> Params:
        gradient, _ = self.inner_gradient(params, batch, torch.is_grad_enabled())
        return params | {name: params[name] - self.inner_lr * g for name, g in gradient.items()}

    @override
    def _check_finite(self, losses: Tensor) -> None:
        try:
            super()._check_finite(losses)
        except NonFiniteError as error:
            for name, log_variance in (
                ("σ²_θ of p", self.log_prior_variance),
                ("v_q of q", self.log_posterior_variance),
            ):
                variance = log_variance.detach().exp()
                bad = int((~torch.isfinite(variance) | (variance == 0)).sum())
                if bad:
                    many = f"{bad} of {len(variance)} weights have a variance"
                    error.args = (f"{many} {name} that is 0 or not finite",)
                    break
            raise
