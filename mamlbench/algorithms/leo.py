"""LEO, latent embedding optimisation (Rusu et al., ICLR 2019, arXiv 1807.05960).

The support set is encoded into codes, a decoder turns them into parameters, and the inner loop
adapts first the codes and then the parameters.

    h [T, M, .]           encoder input: the network's features of x; in regression x and y
    encoder               h to [T, M, L]
    relation network      all M * M pairs to [T, M, 2L], mean over partners
    mean over a class     q(z): each of the G = M support examples has a copy of its class's
                          Gaussian; in regression there is one code for the task, G = 1
    z [T, G, L]           a sample of q(z)
    decoder               z to q(w), from which w [T, G, W] is drawn anew each time
    latent steps          z <- z - rate * dloss/dz, the rate [L] learned
    fine-tuning steps     w <- w - rate * dloss/dw, the rate [W] learned
    parameters            classification: rows of `head.weight` [T, N, D], each the mean over the
                          copies of its class, without bias; regression: the whole network

Inner step s is a latent step if s < `latent_steps`, otherwise a fine-tuning step. The authors' code
sums the inner loss over the support set. `inner_loss=sum` does the same: because the outer
optimiser learns the rates, scaling their initial values would not make a mean equivalent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.base import MetaLearner, for_particles
from mamlbench.algorithms.leo_networks import Copies, Draws, Generated, LatentNetworks, Penalties
from mamlbench.errors import UserError, one_of, require
from mamlbench.networks.base import TaskNetwork, forward
from mamlbench.networks.layers import Rows
from mamlbench.objectives import Classification, Objective
from mamlbench.tasks import Examples, TaskBatch


@dataclass(frozen=True)
class _Path:
    """Weights [T, G, W] after 0 to S steps, how copies are averaged, and two penalties [T]."""

    weights: list[Tensor]
    copies: Copies
    kl: Tensor
    encoder_penalty: Tensor


class LEO(MetaLearner):
    """Algorithm 1. Only meta-training uses dropout; `adapt` takes means unless `samples` > 0.

    Args:
        network: a `TaskNetwork`. Its own values of generated parameters (see above) are unused; its
            other parameters are learned and shared by all tasks.
        objective: see `MetaLearner`.
        latent_size: L.
        latent_steps: inner steps on the codes; the rest of `inner_steps` fine-tune.
        inner_loss: `mean` over the support set, or `sum`.
        inner_lr: initial latent rates, for that `inner_loss`.
        finetune_lr: initial fine-tuning rates, for that `inner_loss`.
        encoder_hidden: widths of the encoder's hidden layers.
        relation_hidden: widths of the relation network's hidden layers.
        decoder_hidden: widths of the decoder's hidden layers.
        bias: give these three networks biases.
        prior: `encoder`; or `standard`: codes are drawn from N(0, I), and `adapt` takes its mean.
        stochastic: sample codes and weights at meta-training; otherwise take means, without KL.
        dropout: probability of dropping an input of encoder or head at meta-training.
        kl_weight: β, of KL(q(z) || N(0, I)), a mean over the codes and their components.
        encoder_penalty: γ, of the mean squared distance from initial to adapted codes.
        l2: λ1, of half the sum of squares of the three networks' weights.
        orthogonality: λ2, see `row_correlation`.
        clip_norm: bound on the norm of each parameter's meta-gradient, after `clip`.
        samples: P, samples of codes and weights that `adapt` draws (0: take their means).
        options: the arguments of `MetaLearner`.

    Raises:
        BadValue: an argument outside of its range, or a network whose layers it cannot generate.
    """

    recomputable = False

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        latent_size: int = 64,
        latent_steps: int = 5,
        inner_loss: str = "mean",
        finetune_lr: float = 0.001,
        encoder_hidden: tuple[int, ...] = (),
        relation_hidden: tuple[int, ...] = (128, 128),
        decoder_hidden: tuple[int, ...] = (),
        bias: bool = False,
        prior: str = "encoder",
        stochastic: bool = True,
        dropout: float = 0.0,
        kl_weight: float = 0.001,
        encoder_penalty: float = 1e-9,
        l2: float = 1e-8,
        orthogonality: float = 0.001,
        clip_norm: float | None = None,
        samples: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        one_of("inner_loss", inner_loss, ("mean", "sum"))
        one_of("prior", prior, ("encoder", "standard"))
        require(latent_steps >= 0, "latent_steps", latent_steps, "0 or more")
        require(0 <= dropout < 1, "dropout", dropout, "0 or more, below 1")
        require(clip_norm is None or clip_norm > 0, "clip_norm", clip_norm, "more than 0, or null")
        require(samples >= 0, "samples", samples, "0 or more (0: the means)")
        require(finetune_lr >= 0, "finetune_lr", finetune_lr, "0 or more")
        self.penalties = Penalties(kl_weight, encoder_penalty, l2, orthogonality)
        self.summed = inner_loss == "sum"
        self.latent_steps, self.stochastic, self.dropout = latent_steps, stochastic, dropout
        self.clip_norm, self.samples = clip_norm, samples
        self.particles = max(1, samples)
        self.generated = made = Generated.of(network, isinstance(objective, Classification))
        self.adapted_names = [*made.shapes]
        self.takes_short_products = not made.rows  # otherwise `_outputs` computes the head's
        hidden = (encoder_hidden, relation_hidden, decoder_hidden)
        self.latent = LatentNetworks(made, latent_size, *hidden, bias, prior == "encoder")
        self.latent_lr = nn.Parameter(torch.full((latent_size,), self.inner_lr))
        self.finetune_lr = nn.Parameter(torch.full((made.width,), float(finetune_lr)))

    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """The parameters after each inner step, from means or from `samples` samples."""
        if not isinstance(support, Examples):
            raise UserError(
                "algorithm=leo: needs a support set before its first step; these tasks have none"
            )
        draws = Draws(support, self.particles, stochastic=self.samples > 0)
        path = self._path(support, self.inner_steps if steps is None else steps, draws)
        own = dict(self.network.named_parameters())
        params = [own | self.generated.params(w, path.copies.gather) for w in path.weights]
        return self.adapted(params, support, draws.particles)

    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The query loss after the last step, plus the penalties."""
        draws = Draws(tasks.support, 1, self.stochastic, self.dropout)
        path = self._path(tasks.support, self.inner_steps, draws)
        seen, last = self._seen(tasks.query.x), path.weights[-1]
        outputs = self._outputs(last, path.copies, seen, draws, self.inner_steps)
        loss = self.objective.loss(outputs, tasks.query.y)
        with torch.no_grad():
            metrics = self.objective.metrics(outputs.unsqueeze(1), tasks.query.y)
        metrics |= {"kl": path.kl, "encoder_penalty": path.encoder_penalty}
        extra = self.penalties.of(path.kl, path.encoder_penalty, self.latent)
        return loss + extra, metrics

    @override
    def clip_gradients(self) -> None:
        super().clip_gradients()
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        for gradient in gradients if self.clip_norm is not None else []:
            gradient.mul_(self.clip_norm / gradient.norm().clamp(min=self.clip_norm))

    def _path(self, support: Examples, steps: int, draws: Draws) -> _Path:
        """The inner loop of Algorithm 1, for each task and particle."""
        learning = torch.is_grad_enabled()

        def point(value: Tensor) -> Tensor:
            """A value to take gradients with respect to; detached unless learning."""
            return value if learning and value.requires_grad else value.detach().requires_grad_()

        x, y = (for_particles(side, draws.particles) for side in (support.x, support.y))
        copies, seen = self.generated.copies(x, y), self._seen(x)
        told = seen if self.generated.rows else torch.cat([seen.flatten(2), y], dim=-1)
        z, kl = self.latent.codes(told, copies.spread, draws)
        with torch.enable_grad():
            first = z = point(z)
            weights = [self.latent.weights(z, draws, 0)]
            for step in range(steps):
                latent = step < self.latent_steps
                at = z if latent else point(weights[-1])
                w = weights[-1] if latent else at
                losses = self.objective.loss(self._outputs(w, copies, seen, draws, step), y)
                total = losses.sum() * (y.shape[1] if self.summed else 1)
                (gradient,) = torch.autograd.grad(total, at, create_graph=learning)
                moved = at - (self.latent_lr if latent else self.finetune_lr) * gradient
                if latent:
                    z = point(moved)
                weights.append(self.latent.weights(z, draws, step + 1) if latent else moved)
        penalty = (z.detach() - first).square().mean(dim=(1, 2)) * self.latent.encodes
        return _Path([w if learning else w.detach() for w in weights], copies, kl, penalty)

    def _seen(self, x: Tensor) -> Tensor:
        """The input of generated parameters: features [T, M, D]; in regression x itself."""
        if not isinstance(self.network, TaskNetwork) or not self.generated.rows:
            return x
        return self.network.features(x, Rows())

    def _outputs(
        self, weights: Tensor, copies: Copies, seen: Tensor, draws: Draws, step: int
    ) -> Tensor:
        """Outputs [T, M, C] with the parameters that the copies' weights give."""
        params = self.generated.params(weights, copies.gather)
        if not self.generated.rows:
            return forward(self.network, params, seen, Rows())
        return draws.head_inputs(seen, step) @ params["head.weight"].transpose(1, 2)
