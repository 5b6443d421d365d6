"""Bayesian MAML (Yoon, Kim, Dia, Kim, Bengio and Ahn, NeurIPS 2018, arXiv 1806.03836)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mamlbench.algorithms import posterior
from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.particles import Particles, for_tasks, require_no_trust_region
from mamlbench.algorithms.samples import as_params
from mamlbench.algorithms.svgd import BANDWIDTHS, svgd
from mamlbench.errors import one_of, require
from mamlbench.networks.base import Params, forward, gradients, trainable_names
from mamlbench.networks.layers import Rows
from mamlbench.objectives import Objective, Regression
from mamlbench.rl.objective import PolicyGradient
from mamlbench.tasks import Examples, TaskBatch

PRECISIONS = ("log_lambda", "log_gamma")


class BMAML(Particles):
    """Algorithm 3: SVGD moves particles to a task's posterior, from learned initial particles.

    The log posterior of a particle θ is log p(D | θ) + log p(θ), a sum over the examples of D. In
    regression a particle has, beside the weights w, two precisions: γ of the likelihood
    N(y; f(x), 1/γ) and λ of the prior N(w; 0, 1/λ), each with a gamma hyper-prior; SVGD moves their
    logarithms with the weights. In classification the prior is flat. For a policy, the log
    posterior is expected return / temperature (SVPG, arXiv 1704.02399, as in section 5.3).

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        meta_loss: `chaser`, the squared distance (for policies, the distance) from the adapted
            particles (the follower) to those that further steps reach (the leader, section 3.2);
            `validation`, the negative log likelihood of the query set under the adapted particles
            (section 3.1), for policies the sum of their losses.
        leader_steps: SVGD steps from follower to leader, on support and query set together; for
            policies 1, on the follower's own episodes.
        leader_lr: step size of these steps (None: `inner_lr`).
        first_order: treat gradients of the log posterior as constants, but not the kernel's.
        bandwidth: of the kernel, see `mamlbench.algorithms.svgd.squared_bandwidth`.
        exact_repulsion: the kernel's exact gradient, or half of it as in the released code.
        noise_variance: initial 1/γ.
        weight_variance: initial 1/λ.
        noise_prior: shape and rate of the gamma hyper-prior of γ.
        weight_prior: shape and rate of the gamma hyper-prior of λ.
        temperature: SVPG's α, for policies.
        options: the arguments of `Particles`; `inner_lr` scales the SVGD direction of the log
            posterior, a sum over examples, not a mean.

    Raises:
        BadValue: an argument outside of its range, or parameters that nothing would train.
    """

    replayable = True

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        meta_loss: str = "chaser",
        leader_steps: int = 1,
        leader_lr: float | None = None,
        first_order: bool = False,
        bandwidth: str = "org",
        exact_repulsion: bool = False,
        noise_variance: float = 1.0,
        weight_variance: float = 1.0,
        noise_prior: tuple[float, float] = (2.0, 0.2),
        weight_prior: tuple[float, float] = (2.0, 2.0),
        temperature: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        one_of("meta_loss", meta_loss, ("chaser", "validation"))
        one_of("bandwidth", bandwidth, BANDWIDTHS)
        require(leader_steps >= 1, "leader_steps", leader_steps, "1 or more")
        require(leader_lr is None or leader_lr >= 0, "leader_lr", leader_lr, "0 or more, or null")
        variances = (("noise_variance", noise_variance), ("weight_variance", weight_variance))
        for option, variance in variances:
            require(0 < variance < math.inf, option, variance, "more than 0")
        for option, prior in (("noise_prior", noise_prior), ("weight_prior", weight_prior)):
            require(min(prior) > 0, option, list(prior), "[shape, rate], both more than 0")
        still = len(self.adapted_names) < len(trainable_names(network))
        trained = not (still and first_order and meta_loss == "chaser")
        accepted = "false if the chaser loss must train what the inner loop does not move"
        require(trained, "first_order", first_order, accepted)
        self.chaser, self.first_order = meta_loss == "chaser", first_order
        self.acting, self.temperature = isinstance(objective, PolicyGradient), temperature
        require(0 < temperature < math.inf, "temperature", temperature, "more than 0")
        known = self.acting or temperature == 1
        require(known, "temperature", temperature, "1: these tasks have no policy")
        accepted = "1 for policies: the leader learns from the follower's episodes"
        require(not self.acting or leader_steps == 1, "leader_steps", leader_steps, accepted)
        if self.chaser:
            require_no_trust_region("chaser", "validation", **options)
        self.leader_steps = leader_steps
        self.leader_lr = self.inner_lr if leader_lr is None else leader_lr
        self.bandwidth, self.exact_repulsion = bandwidth, exact_repulsion
        self.noise_prior, self.weight_prior = noise_prior, weight_prior
        self.precisions = PRECISIONS if isinstance(objective, Regression) else ()
        self.initial_precisions = nn.ParameterDict()
        for name, variance in zip(self.precisions, (weight_variance, noise_variance), strict=False):
            start = torch.full((self.particles,), -math.log(variance))
            self.initial_precisions[name] = nn.Parameter(start)

    # --- adapting: SVGD -------------------------------------------------------------------------

    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """SVGD on the log posterior given the support set: Θ ← SVGD(Θ; D, ε), from Θ = Θ_0."""
        steps = self.inner_steps if steps is None else steps
        path = self._follow(self._start(len(support)), support, steps, self.inner_lr)
        return self.adapted_particles([self._of_network(params) for params in path], support)

    def _start(self, tasks: int) -> Params:
        precisions = self.initial_precisions.items()
        return self.initial(tasks) | {name: for_tasks(p, tasks) for name, p in precisions}

    def _of_network(self, params: Params) -> Params:
        return {name: p for name, p in params.items() if name not in self.precisions}

    def _follow(self, params: Params, support: Support, steps: int, rate: float) -> list[Params]:
        path = [params]
        for step in range(steps):
            batch = self.support_at(support, step, self._of_network(path[-1]))
            moved = self.inner_step(partial(self._svgd_step, batch, rate), path[-1])
            path.append(path[-1] | moved)
        return path

    def _svgd_step(self, batch: Examples, rate: float, params: Params) -> Params:
        """θ_m ← θ_m + ε φ(θ_m), over weights and log precisions together."""
        names = [*self.adapted_names, *self.precisions]
        second_order = torch.is_grad_enabled() and not self.first_order
        log_posterior = partial(self.log_posterior, examples=batch)
        gradient, _ = gradients(log_posterior, params, names, second_order)
        particles, ascent = self.as_vectors(params, names), self.as_vectors(gradient, names)
        direction = svgd(particles, ascent, self.bandwidth, self.exact_repulsion)
        moved = (particles + rate * direction).flatten(0, 1)
        return as_params(moved, params, names)

    # --- the posterior --------------------------------------------------------------------------

    def log_posterior(self, params: Params, examples: Examples) -> Tensor:
        """log p(θ | D) of each particle up to a constant, [T*P], given examples [T, M, ...]."""
        likelihood = self.log_likelihood(params, examples)
        if not self.precisions:
            return likelihood
        weights = self.as_vectors(params, self.adapted_names).flatten(0, 1)
        log_lambda, log_gamma = (params[name] for name in PRECISIONS)
        priors = self.weight_prior, self.noise_prior
        return likelihood + posterior.log_prior(weights, log_lambda, log_gamma, *priors)

    def log_likelihood(self, params: Params, examples: Examples) -> Tensor:
        """log p(D | θ) of each particle up to a constant, [T*P]: a sum over the examples."""
        each = self.examples(examples)
        outputs = forward(self.network, self._of_network(params), each.x, Rows())
        losses = self.objective.loss(outputs, each.y)
        if self.acting:
            return -losses / self.temperature
        count = examples.y[0].numel()  # how many values the loss averages
        if not self.precisions:
            return -count * losses
        return posterior.normal_log_density(count * losses, count, params["log_gamma"])

    # --- learning the initial particles ---------------------------------------------------------

    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The chaser loss (Algorithm 3) or the validation loss (Algorithm 2), and metrics [T]."""
        path = self._follow(self._start(len(tasks)), tasks.support, self.inner_steps, self.inner_lr)
        follower = path[-1]
        loss = (self._chaser if self.chaser else self._validation)(follower, tasks)
        with torch.no_grad():
            adapted = self.adapted_particles([self._of_network(follower)], tasks.support)
            outputs = self.predict(adapted, tasks.query.x)
            metrics = self.objective.metrics(outputs, tasks.query.y)
        return loss, metrics | {"meta_loss": loss.detach()}

    def _chaser(self, follower: Params, tasks: TaskBatch) -> Tensor:
        """Σ_m ‖θ_m - leader_m‖², [T], over the weights without the precisions.

        For policies Σ_m ‖θ_m - leader_m‖; support varies by step, so the leader uses queries.
        """
        both = tasks.query if self.acting else tasks.support.together(tasks.query)
        with torch.no_grad():
            leader = self._follow(follower, both, self.leader_steps, self.leader_lr)[-1]
        ahead, behind = (self.as_vectors(p, self.adapted_names) for p in (leader, follower))
        if self.acting:
            return torch.linalg.vector_norm(behind - ahead, dim=2).sum(1)
        return (behind - ahead).square().sum((1, 2))

    def _validation(self, follower: Params, tasks: TaskBatch) -> Tensor:
        """-1/M log 1/P Σ_m p(D_query | θ_m), [T]; for policies, the sum of their losses."""
        likelihoods = self.log_likelihood(follower, tasks.query).unflatten(0, (-1, self.particles))
        if self.acting:
            return -self.temperature * likelihoods.sum(1)
        mixture = likelihoods.logsumexp(1) - math.log(self.particles)
        return -mixture / tasks.query.y.shape[1]
