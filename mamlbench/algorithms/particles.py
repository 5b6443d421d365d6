"""Learners whose meta-parameters are several networks: the particles of a posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.base import MetaLearner, for_particles
from mamlbench.algorithms.samples import as_vectors
from mamlbench.errors import one_of, require
from mamlbench.networks.base import Params, TaskNetwork, alike, forward, trainable_names
from mamlbench.networks.layers import Rows
from mamlbench.objectives import Objective
from mamlbench.rl.objective import PolicyGradient
from mamlbench.tasks import Examples

PARTICLES_OF = ("all", "head")


class Particles(MetaLearner):
    """P initialisations, drawn independently, adapted side by side.

    The particles are parameters of this learner. The network is their template and the first draw;
    of its own parameters, only those that all particles share are used and learned.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        particles: P.
        particles_of: `all`, each particle is a whole network; `head`, each particle is a last layer
            (the network's `head`), the inner loop adapts heads only, and all share the features
            (arXiv 1806.03836, section 5.2).
        options: the arguments of `MetaLearner`.

    Raises:
        BadValue: no particle, a network without `head`, particles that would all start at the same
            place, or whole networks that would share one set of running averages.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        particles: int = 5,
        particles_of: str = "all",
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        require(particles >= 1, "particles", particles, "1 or more")
        one_of("particles_of", particles_of, PARTICLES_OF)
        self.particle_names = _names(network, particles_of)
        self.adapted_names = [n for n in self.adapted_names if n in self.particle_names]
        # mamlbench's layers take several heads over one set of features; vmap does not
        self._one_extractor = particles_of == "head" and isinstance(network, TaskNetwork)
        self.particles = particles
        self._acts = isinstance(objective, PolicyGradient) and particles > 1
        draws = [network, *(alike(network) for _ in range(particles - 1))]
        values = [
            torch.stack([dict(draw.named_parameters())[name].detach() for draw in draws])
            for name in self.particle_names
        ]
        apart = particles == 1 or any(not torch.equal(v[0], v[1]) for v in values)
        accepted = "1 if the network's initial values are not random (as with head_init=zeros)"
        require(apart, "particles", particles, accepted)
        self.initial_particles = nn.ParameterList(values)

    @override
    def initial(self, tasks: int) -> Params:
        """The parameters before the first inner step: particles [T*P, ...], others [...]."""
        own = dict(self.network.named_parameters())
        pairs = zip(self.particle_names, self.initial_particles, strict=True)
        return own | {name: for_tasks(values, tasks) for name, values in pairs}

    def examples(self, examples: Examples) -> Examples:
        """Repeat examples [T, M, ...] for each particle, in the form that the network takes.

        Policies have gathered examples of their own already, [T, P, M, ...].
        """
        if self._acts:
            return Examples(examples.x.flatten(0, 1), examples.y.flatten(0, 1))
        x = examples.x if self._one_extractor else for_particles(examples.x, self.particles)
        return Examples(x, for_particles(examples.y, self.particles))

    def adapted_particles(self, params: list[Params], support: Support) -> Adapted:
        """The return value of `adapt`, from the parameters after 0 to S steps."""
        return self.adapted(params, support, self.particles)

    @override
    def predict(
        self, adapted: Adapted, x: Tensor, step: int = -1, transductive: bool = True
    ) -> Tensor:
        """See `MetaLearner.predict`; features that the particles share are computed once.

        For policies, x is [T, P, M, D], each particle's own observations.
        """
        if self._acts:
            outputs = forward(self.network, adapted.params[step], x.flatten(0, 1), Rows())
            return outputs.unflatten(0, (-1, self.particles))
        if not self._one_extractor:
            return super().predict(adapted, x, step, transductive)
        heads = super().predict(replace(adapted, particles=1), x, step, transductive)
        return heads.squeeze(1).unflatten(0, (-1, self.particles))

    def as_vectors(self, params: Params, names: Sequence[str]) -> Tensor:
        """The named parameters [T*P, ...] of each particle as one vector, [T, P, D]."""
        return as_vectors(params, names).unflatten(0, (-1, self.particles))


def for_tasks(values: Tensor, tasks: int) -> Tensor:
    """Repeat the particles' values [P, ...] for each of T tasks, [T*P, ...]."""
    return values.expand(tasks, *values.shape).flatten(0, 1)


def require_no_trust_region(meta_loss: str, other: str, **options: Any) -> None:
    """Check that no trust region, which maximises the policies' gain, is to use this meta-loss.

    Raises:
        BadValue: it is.
    """
    right = options.get("outer_optimizer") != "trpo"
    require(right, "meta_loss", meta_loss, f"{other} if outer_optimizer=trpo")


def _names(network: nn.Module, particles_of: str) -> list[str]:
    names = trainable_names(network)
    if particles_of == "head":
        names = [name for name in names if name.startswith("head.")]
        kind = type(network).__name__
        require(bool(names), "particles_of", "head", f"all: {kind} has no part named head")
    elif isinstance(network, TaskNetwork):
        accepted = "head if network.norm=running: whole networks would share their averages"
        require(network.norm != "running", "particles_of", "all", accepted)
    return names
