"""LEO's parts: its three networks, Gaussians and penalties (arXiv 1807.05960)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from scipy.special import ndtri
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.errors import BadValue, require
from mamlbench.networks.base import Params, TaskNetwork
from mamlbench.noise import normal
from mamlbench.tasks import Examples

LEAST_SCALE = 1e-10
CODE, ENCODER_INPUT, WEIGHTS, INPUT = range(4)
"""Places of random draws (see `normal`); the last two have one at each inner step."""
PLACES = 2
"""Difference between the places of one inner step and the next."""


class Layers(nn.Sequential):
    """Linear layers with ReLU between them, Glorot uniform; [..., widths[0]] to [..., widths[-1]].

    Args:
        widths: of the input, each hidden layer and the output.
        bias: whether the layers have biases.
    """

    def __init__(self, widths: Sequence[int], bias: bool) -> None:
        parts: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layer = nn.Linear(inputs, outputs, bias)
            nn.init.xavier_uniform_(layer.weight)
            if bias:
                nn.init.zeros_(layer.bias)
            parts += [layer, nn.ReLU()]
        super().__init__(*parts[:-1])

    def weights(self) -> list[Tensor]:
        """The matrices, [outputs, inputs] each, without the biases."""
        return [layer.weight for layer in self if isinstance(layer, nn.Linear)]


class RelationNetwork(Layers):
    """Relates every pair of codes: [T, M, H] to [T, M, outputs], the mean over partners."""

    @override
    def forward(self, codes: Tensor) -> Tensor:
        examples = codes.shape[1]
        left = codes.unsqueeze(2).expand(-1, -1, examples, -1)
        right = codes.unsqueeze(1).expand(-1, examples, -1, -1)
        related: Tensor = super().forward(torch.cat([left, right], dim=-1))
        return related.mean(dim=2)


@dataclass(frozen=True)
class Gaussian:
    """Independent normal variables, [T, G, n].

    Attributes:
        mean: their means.
        scale: their standard deviations, positive.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, outputs: Tensor, scale_at_zero: Tensor | float) -> Gaussian:
        """From outputs [T, G, 2n], mean and u: the scale is exp(u) - (1 - scale_at_zero)."""
        mean, u = outputs.chunk(2, dim=-1)
        return cls(mean, (u.exp() - (1.0 - scale_at_zero)).clamp(min=LEAST_SCALE))

    def sample(self, noise: Tensor) -> Tensor:
        """A sample, from standard normal noise [T, G, n]."""
        return self.mean + self.scale * noise

    def divergence(self, noise: Tensor) -> Tensor:
        """One-sample estimate of KL(self, N(0, I)): the mean of log q - log p at a sample, [T].

        It takes the noise, not the sample: recovering the noise by a division by a scale of 1e-10
        would leave only rounding errors, in the gradient too.
        """
        own = -0.5 * noise.square() - self.scale.log()
        return (own + 0.5 * self.sample(noise).square()).mean(dim=(1, 2))


@dataclass(frozen=True)
class Draws:
    """The random draws of T tasks while they adapt; each has a place of its own.

    Attributes:
        examples: the support set, whose seeds determine the draws.
        particles: P; draws have T*P in front.
        stochastic: sample Gaussians; otherwise take their means.
        dropout: probability that an input is dropped.
    """

    examples: Examples
    particles: int = 1
    stochastic: bool = True
    dropout: float = 0.0

    def normal(self, place: int, like: Tensor) -> Tensor:
        """Standard normal numbers in the shape of `like`, [T*P, ...]."""
        shape = (self.particles, *like.shape[1:])
        return normal(self.examples, shape, place, like).flatten(0, 1)

    def sampled(self, gaussian: Gaussian, place: int) -> Tensor:
        """A sample (reparameterised), or the mean."""
        if not self.stochastic:
            return gaussian.mean
        return gaussian.sample(self.normal(place, gaussian.mean))

    def thinned(self, x: Tensor, place: int) -> Tensor:
        """Inputs x [T*P, M, D] after dropout."""
        if self.dropout == 0:
            return x
        kept = self.normal(place, x) > float(ndtri(self.dropout))
        return x * kept / (1 - self.dropout)

    def head_inputs(self, x: Tensor, step: int) -> Tensor:
        """Inputs of the head after dropout, drawn anew at each inner step."""
        return self.thinned(x, INPUT + PLACES * step)


@dataclass(frozen=True)
class Penalties:
    """Weights of the penalties that are added to the query loss.

    Attributes:
        kl_weight: β.
        encoder_penalty: γ.
        l2: λ1.
        orthogonality: λ2.

    Raises:
        BadValue: a weight that is negative or not finite.
    """

    kl_weight: float
    encoder_penalty: float
    l2: float
    orthogonality: float

    def __post_init__(self) -> None:
        for option, value in vars(self).items():
            require(value >= 0 and math.isfinite(value), option, value, "0 or more")

    def of(self, kl: Tensor, encoder_penalty: Tensor, latent: LatentNetworks) -> Tensor:
        """The sum of the penalties, [T], given the divergence and the encoder's penalty [T]."""
        per_task = self.kl_weight * kl + self.encoder_penalty * encoder_penalty
        correlation = latent.decoder_correlation()
        return per_task + self.l2 * latent.half_squares() + self.orthogonality * correlation


@dataclass(frozen=True)
class Copies:
    """How the G codes of a task represent its classes or, in regression, the task itself.

    In classification each support example has a copy of its class's Gaussian; in regression one
    Gaussian serves the whole support set.

    Attributes:
        spread: [T, G, M], averages the relation network's outputs over examples, for each code.
        gather: [T, N, G], averages the generated weights over a class's copies, for each class.
    """

    spread: Tensor
    gather: Tensor

    @classmethod
    def of_classes(cls, y: Tensor, ways: int, like: Tensor) -> Copies:
        """For class numbers y [T, M]; a class without examples gets weights of 0."""
        members = F.one_hot(y, ways).to(like.dtype)
        gather = (members / members.sum(1, keepdim=True).clamp(min=1.0)).transpose(1, 2)
        return cls(members @ gather, gather)

    @classmethod
    def of_task(cls, x: Tensor) -> Copies:
        """For one code that represents all examples x [T, M, ...]."""
        tasks, examples = x.shape[:2]
        return cls(x.new_full((tasks, 1, examples), 1.0 / examples), x.new_ones(tasks, 1, 1))


@dataclass(frozen=True)
class Generated:
    """The parameters that a decoder generates.

    In classification a code generates the weights of one class, a row of the network's `head`;
    there is no bias. In regression a code generates all parameters of the network.

    Attributes:
        shapes: of one task's generated parameters, by name.
        rows: whether a code generates one row of the head.
        scales: [W] standard deviations of the weights if the decoder outputs u = 0: Glorot's.
        inputs: number of encoder inputs from one support example.
        ways: N, or the number of outputs in regression.
    """

    shapes: dict[str, torch.Size]
    rows: bool
    scales: Tensor
    inputs: int
    ways: int

    @property
    def width(self) -> int:
        """W, the number of weights generated from one code."""
        return len(self.scales)

    @classmethod
    def of(cls, network: nn.Module, rows: bool) -> Generated:
        """For a network whose head's rows, or all of whose parameters, are generated.

        Raises:
            BadValue: the network is not built of mamlbench's layers, or has `norm=support`.
        """
        if not isinstance(network, TaskNetwork):
            accepted = "a network of mamlbench's own layers with leo"
            raise BadValue("_target_", type(network).__name__, accepted, "network")
        if network.norm == "support":
            raise BadValue("norm", "support", "batch, running, group or none with leo", "network")
        head = network.head.weight
        if rows:
            scales = torch.full((head.shape[1],), _glorot(head))
            return cls({"head.weight": head.shape}, True, scales, head.shape[1], len(head))
        parameters = dict(network.named_parameters())
        scales = torch.cat([torch.full((p.numel(),), _glorot(p)) for p in parameters.values()])
        inputs = math.prod(network.input_shape) + len(head)
        shapes = {name: p.shape for name, p in parameters.items()}
        return cls(shapes, False, scales, inputs, len(head))

    def copies(self, x: Tensor, y: Tensor) -> Copies:
        """The copies for a support set."""
        return Copies.of_classes(y, self.ways, x) if self.rows else Copies.of_task(x)

    def params(self, weights: Tensor, gather: Tensor) -> Params:
        """Parameters [T, ...] by name from the copies' weights [T, G, W], see `Copies.gather`."""
        means = gather @ weights
        if self.rows:
            return {"head.weight": means, "head.bias": means.new_zeros(means.shape[:2])}
        parts = means.squeeze(1).split([shape.numel() for shape in self.shapes.values()], dim=1)
        pairs = zip(self.shapes.items(), parts, strict=True)
        return {name: part.unflatten(1, shape) for (name, shape), part in pairs}


class LatentNetworks(nn.Module):
    """Encoder, relation network and decoder.

    Args:
        generated: the parameters that the decoder generates.
        latent_size: L.
        encoder_hidden: widths of the encoder's hidden layers.
        relation_hidden: widths of the relation network's hidden layers.
        decoder_hidden: widths of the decoder's hidden layers.
        bias: whether the layers have biases.
        encodes: whether there is an encoder with a relation network.
    """

    def __init__(
        self,
        generated: Generated,
        latent_size: int,
        encoder_hidden: tuple[int, ...],
        relation_hidden: tuple[int, ...],
        decoder_hidden: tuple[int, ...],
        bias: bool,
        encodes: bool,
    ) -> None:
        super().__init__()
        self.latent_size, self.encodes = latent_size, encodes
        require(latent_size >= 1, "latent_size", latent_size, "1 or more")
        for option, widths in (
            ("encoder_hidden", encoder_hidden),
            ("relation_hidden", relation_hidden),
            ("decoder_hidden", decoder_hidden),
        ):
            require(all(w >= 1 for w in widths), option, list(widths), "widths of 1 or more")
        if encodes:
            self.encoder = Layers((generated.inputs, *encoder_hidden, latent_size), bias)
            self.relation = RelationNetwork(
                (2 * latent_size, *relation_hidden, 2 * latent_size), bias
            )
        self.decoder = Layers((latent_size, *decoder_hidden, 2 * generated.width), bias)
        self.register_buffer("scales", generated.scales, persistent=False)
        self.scales: Tensor

    def codes(self, inputs: Tensor, spread: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Codes z [T, G, L] of the support set, and the KL divergence of q(z) [T].

        Args:
            inputs: of the encoder, [T, M, ...].
            spread: see `Copies`.
            draws: without `stochastic`, z is the mean and the divergence is 0.
        """
        none = inputs.new_zeros(len(inputs))
        if not self.encodes:
            mean = inputs.new_zeros(*spread.shape[:2], self.latent_size)
            return draws.sampled(Gaussian(mean, torch.ones_like(mean)), CODE), none
        encoded = self.encoder(draws.thinned(inputs, ENCODER_INPUT))
        code = Gaussian.of(spread @ self.relation(encoded), 0.0)
        z = draws.sampled(code, CODE)
        return z, code.divergence(draws.normal(CODE, z)) if draws.stochastic else none

    def weights(self, z: Tensor, draws: Draws, step: int) -> Tensor:
        """Weights w [T, G, W] from codes z [T, G, L], drawn anew at each inner step."""
        return draws.sampled(Gaussian.of(self.decoder(z), self.scales), WEIGHTS + PLACES * step)

    def half_squares(self) -> Tensor:
        """Half the sum of squares of all weights, without biases."""
        layers = [layers for layers in self.children() if isinstance(layers, Layers)]
        weights = [weight for part in layers for weight in part.weights()]
        return 0.5 * torch.stack([weight.square().sum() for weight in weights]).sum()

    def decoder_correlation(self) -> Tensor:
        """`row_correlation` of the decoder's last layer."""
        return row_correlation(self.decoder.weights()[-1])


def row_correlation(weight: Tensor) -> Tensor:
    """Mean squared difference between I and the correlations of a layer's inputs.

    This follows the authors' code; the paper writes the L1 norm.

    Args:
        weight: [outputs, inputs]; the correlations are between its columns, which are the rows of
            the paper's matrix.
    """
    unit = weight / (weight.norm(dim=0, keepdim=True) + 1e-32)
    correlation = unit.T @ unit
    identity = torch.eye(len(correlation), dtype=weight.dtype, device=weight.device)
    return (correlation - identity).square().mean()


def _glorot(parameter: Tensor) -> float:
    """Glorot's standard deviation of a weight, 0 for a bias or a scale."""
    if parameter.dim() < 2:
        return 0.0
    places = parameter[0, 0].numel()
    return math.sqrt(2.0 / (places * (parameter.shape[0] + parameter.shape[1])))
