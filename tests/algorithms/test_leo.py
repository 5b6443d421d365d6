"""LEO against a second implementation, task by task, with axes for classes and copies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from problems import F64, flat, gradient, mlp, parameters, relative_error, set_parameters, sinusoids
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from mamlbench.algorithms import LEO
from mamlbench.algorithms.leo_networks import (
    Copies,
    Draws,
    Gaussian,
    Layers,
    RelationNetwork,
    row_correlation,
)
from mamlbench.errors import BadValue, UserError
from mamlbench.networks import MLP, Conv4, LinearClassifier, Rows
from mamlbench.noise import normal
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import Examples, TaskBatch

N, K, Q, D, L = 3, 2, 2, 7, 4
PENALTIES = {"kl_weight": 0.3, "encoder_penalty": 0.2, "l2": 0.01, "orthogonality": 0.4}


def embedded(tasks: int = 2, shuffled: bool = False, seed: int = 0) -> TaskBatch:
    """3-way tasks of unit vectors, 2 shots and 2 queries, class after class unless shuffled."""
    generator = torch.Generator().manual_seed(seed)
    sides = []
    for count in (K, Q):
        x = torch.randn(tasks, N * count, D, generator=generator, dtype=F64)
        x = F.normalize(x, dim=-1)
        y = torch.arange(N).repeat_interleave(count).expand(tasks, -1)
        if shuffled:
            order = torch.randperm(N * count, generator=generator)
            x, y = x[:, order], y[:, order]
        sides.append(Examples(x, y, np.arange(tasks) + 5))
    return TaskBatch(*sides)


def leo(**options: object) -> LEO:
    torch.manual_seed(4)
    given = {"latent_size": L, "relation_hidden": (5, 6), "inner_steps": 5, "latent_steps": 3}
    given |= {"inner_lr": 0.3, "finetune_lr": 0.1, "inner_loss": "sum", **PENALTIES}
    learner = LEO(LinearClassifier((D,), N), Classification(), **(given | options)).double()
    with torch.no_grad():  # rates that all differ
        learner.latent_lr += 0.1 * torch.rand(L, dtype=F64)
        learner.finetune_lr += 0.1 * torch.rand(D, dtype=F64)
    return learner


# --- a second implementation, of one task ---------------------------------------------------------


@dataclass
class OneTask:
    """LEO on one task, with the paper's axes: latents [N, K, L] and weights [N, K, D]."""

    learner: LEO
    tasks: TaskBatch
    task: int
    sampling: bool = True
    dropout: float = 0.0

    def noise(self, place: int, shape: tuple[int, ...]) -> Tensor:
        one = self.tasks.support[self.task : self.task + 1]
        return normal(one, shape, place, torch.zeros((), dtype=F64))[0]

    def drop(self, x: Tensor, place: int) -> Tensor:
        if not self.dropout:
            return x
        kept = 0.5 * (1 + torch.erf(self.noise(place, x.shape) / math.sqrt(2))) > self.dropout
        return torch.where(kept, x / (1 - self.dropout), 0.0)

    def sample(self, outputs: Tensor, offset: float, place: int) -> tuple[Tensor, Tensor]:
        mean, u = outputs.chunk(2, -1)
        scale = torch.clamp(torch.exp(u) - (1 - offset), min=1e-10)
        if not self.sampling:
            return mean, torch.zeros((), dtype=F64)
        flat_shape = (N * K, mean.shape[-1])
        noise = self.noise(place, flat_shape).view(mean.shape)
        z = mean + scale * noise
        # the density of z is that of the noise divided by the scale
        log_q = Normal(0.0, 1.0).log_prob(noise) - scale.log()
        return z, (log_q - Normal(0.0, 1.0).log_prob(z)).mean()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.drop(x, 1) @ self.learner.latent.encoder[0].weight.T
        matrices = [
            layer.weight for layer in self.learner.latent.relation if hasattr(layer, "weight")
        ]
        related = []
        for left in codes:
            pairs = []
            for right in codes:
                h = torch.cat([left, right])
                for i, matrix in enumerate(matrices):
                    h = matrix @ (h if i == 0 else torch.relu(h))
                pairs.append(h)
            related.append(sum(pairs) / len(pairs))
        per_class = torch.stack(related).view(N, K, -1).mean(1, keepdim=True).expand(-1, K, -1)
        return self.sample(per_class, 0.0, 0)

    def decode(self, z: Tensor, step: int) -> Tensor:
        outputs = z @ self.learner.latent.decoder[0].weight.T
        # in single precision, as modules are built
        return self.sample(outputs, float(np.float32(math.sqrt(2 / (N + D)))), 2 + 2 * step)[0]

    def losses(self, x: Tensor, y: Tensor, w: Tensor, step: int) -> Tensor:
        """Cross-entropy of each example: a logit is the mean over a class's copies."""
        logits = torch.einsum("md,nkd->mnk", self.drop(x, 3 + 2 * step), w).mean(-1)
        return -torch.log_softmax(logits, -1)[torch.arange(len(y)), y]

    def run(self) -> dict[str, Tensor]:
        support, query = self.tasks.support, self.tasks.query
        x, y = support.x[self.task], support.y[self.task]
        first, kl = self.encode(x)
        z, w = first, self.decode(first, 0)
        path = [w]
        for step in range(3):
            (g,) = torch.autograd.grad(self.losses(x, y, w, step).sum(), z, create_graph=True)
            z = z - self.learner.latent_lr * g
            w = self.decode(z, step + 1)
            path.append(w)
        for step in (3, 4):
            (g,) = torch.autograd.grad(self.losses(x, y, w, step).sum(), w, create_graph=True)
            w = w - self.learner.finetune_lr * g
            path.append(w)
        loss = self.losses(query.x[self.task], query.y[self.task], w, 5).mean()
        penalty = F.mse_loss(first, z.detach())
        return {"loss": loss, "kl": kl, "penalty": penalty, "path": torch.stack(path)}


def by_hand(learner: LEO, tasks: TaskBatch, dropout: float, sampling: bool = True) -> Tensor:
    found = [OneTask(learner, tasks, i, sampling, dropout).run() for i in range(len(tasks))]
    total = sum(o["loss"] + 0.3 * o["kl"] + 0.2 * o["penalty"] for o in found) / len(found)
    latent = learner.latent
    squares = sum(p.square().sum() for p in latent.parameters())
    rows = latent.decoder[0].weight.T  # inputs first, as in TensorFlow
    correlation = torch.zeros((), dtype=F64)
    for i in range(L):
        for j in range(L):
            cosine = rows[i] @ rows[j] / rows[i].norm() / rows[j].norm()
            correlation = correlation + (cosine - float(i == j)) ** 2 / L**2
    return total + 0.01 * squares / 2 + 0.4 * correlation


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("sampling", [True, False])
def test_the_meta_gradient(dropout, sampling):
    """Second order through all steps, with every penalty and every draw."""
    tasks = embedded()
    learner = leo(dropout=dropout, stochastic=sampling)
    learner.meta_gradient(tasks)
    own = [p for name, p in learner.named_parameters() if "network" not in name]
    expected = torch.autograd.grad(by_hand(learner, tasks, dropout, sampling), own)
    assert relative_error(flat(p.grad for p in own), flat(expected)) < 1e-10
    assert learner.network.head.weight.grad is None  # the head's own values are not used


def test_the_meta_gradient_by_differences():
    """Includes the features' parameters; without the encoder penalty, which detaches its target."""
    torch.manual_seed(0)
    network = MLP((D,), N, hidden=(5,), activation="tanh")
    options = {"latent_size": 3, "relation_hidden": (4,), "inner_steps": 3, "latent_steps": 2}
    learner = LEO(network, Classification(), inner_lr=0.2, finetune_lr=0.1, **options).double()
    learner.penalties = type(learner.penalties)(0.3, 0.0, 0.01, 0.4)
    tasks = embedded(shuffled=True)
    found, at = gradient(learner, tasks), parameters(learner)
    generator = torch.Generator().manual_seed(5)
    for _ in range(5):
        direction = F.normalize(torch.randn(len(at), generator=generator, dtype=F64), dim=0)
        ends = []
        for end in (1e-6, -1e-6):
            set_parameters(learner, at + end * direction)
            ends.append(float(learner.meta_loss(tasks)[0].mean().detach()))
        slope = (ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx(float(direction @ found), rel=1e-5, abs=1e-8)


def test_a_mean_inner_loss_is_the_sum_with_smaller_rates():
    tasks, summed, mean = embedded(), leo(), leo(inner_loss="mean")
    with torch.no_grad():
        mean.load_state_dict(summed.state_dict())
        mean.latent_lr *= N * K
        mean.finetune_lr *= N * K
    losses = [learner.meta_loss(tasks)[0] for learner in (summed, mean)]
    torch.testing.assert_close(*losses, rtol=1e-10, atol=0)


# --- adapting at test -----------------------------------------------------------------------------


def test_adapt_takes_means_and_drops_nothing():
    tasks, learner = embedded(), leo(dropout=0.4)
    with torch.no_grad():
        adapted = learner.adapt(tasks.support)
    for task in range(2):
        expected = OneTask(learner, tasks, task, sampling=False).run()["path"].mean(2)
        found = torch.stack([params["head.weight"][task] for params in adapted.params])
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert not any(p["head.weight"].requires_grad for p in adapted.params)
    assert not adapted.params[0]["head.bias"].any()
    logits = tasks.query.x @ adapted.params[-1]["head.weight"].transpose(1, 2)
    torch.testing.assert_close(learner.predict(adapted, tasks.query.x)[:, 0], logits)


def test_the_order_of_the_support_set_does_not_matter():
    tasks, learner = embedded(), leo()
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    moved = Examples(tasks.support.x[:, order], tasks.support.y[:, order])
    found, expected = (
        learner.adapt(side).params[-1]["head.weight"] for side in (moved, tasks.support)
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_samples_are_particles():
    tasks, learner = embedded(), leo(samples=3)
    outputs = learner.predict(learner.adapt(tasks.support), tasks.query.x)
    assert outputs.shape == (2, 3, N * Q, N)
    assert (outputs.std(dim=1) > 1e-3).all()
    one = tasks[1:2]
    alone = learner.predict(learner.adapt(one.support), one.query.x)
    torch.testing.assert_close(alone[0], outputs[1], rtol=1e-10, atol=1e-12)


# --- its parts ------------------------------------------------------------------------------------


def test_scales_of_gaussians():
    """exp(u) - (1 - s0): s0 at u = 0, never below 1e-10."""
    outputs = torch.tensor([[[7.0, 8.0, 9.0, 0.0, math.log(2.0), -5.0]]], dtype=F64)
    latent = Gaussian.of(outputs, 0.0)
    assert latent.mean.tolist() == [[[7.0, 8.0, 9.0]]]
    torch.testing.assert_close(latent.scale, torch.tensor([[[1e-10, 1.0, 1e-10]]], dtype=F64))
    weights = Gaussian.of(outputs, 0.25)
    torch.testing.assert_close(weights.scale, torch.tensor([[[0.25, 1.25, 1e-10]]], dtype=F64))
    learner = LEO(LinearClassifier((640,), 5), Classification())
    assert learner.latent.scales.shape == (640,)
    torch.testing.assert_close(learner.latent.scales, torch.full((640,), math.sqrt(2 / 645)))


def test_divergence_by_hand():
    """At z = 2 of N(1, 2) and z = 0 of N(0, 1/2): log q - log p is 15/8 - log 2, and log 2."""
    code = Gaussian(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[2.0, 0.5]]]))
    found = code.divergence(torch.tensor([[[0.5, 0.0]]]))
    assert found.tolist() == pytest.approx([15 / 16])
    estimate = code.divergence(torch.randn(1, 200_000, 2))
    exact = kl_divergence(Normal(code.mean, code.scale), Normal(0.0, 1.0)).mean()
    assert float(estimate) == pytest.approx(float(exact), rel=0.02)


def test_divergence_of_the_least_scale_in_single_precision():
    """log q - log p at N(3, 1e-10) is 9/2 + log 1e10 - e^2/2, its derivative in the mean is 3."""
    mean = torch.tensor([[[3.0]]], requires_grad=True)
    code = Gaussian(mean, torch.tensor([[[1e-10]]]))
    found = code.divergence(torch.tensor([[[2.0]]]))
    found.sum().backward()
    assert found.tolist() == pytest.approx([4.5 + 10 * math.log(10) - 2])
    assert mean.grad.item() == pytest.approx(3.0)


def test_relations_by_hand():
    """left + 10 right, mean over partners, then over a class, on 2-way 2-shot with codes 1 to 4."""
    relation = RelationNetwork((2, 2), bias=False)
    with torch.no_grad():
        relation[0].weight.copy_(torch.tensor([[1.0, 10.0], [0.0, 1.0]]))
    codes = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    related = relation(codes)
    assert related.tolist() == [[[26.0, 2.5], [27.0, 2.5], [28.0, 2.5], [29.0, 2.5]]]
    copies = Copies.of_classes(torch.tensor([[1, 0, 1, 0]]), 2, codes)
    averaged = copies.spread @ related
    assert averaged[..., 0].tolist() == [[27.0, 28.0, 27.0, 28.0]]
    assert (copies.gather @ codes).tolist() == [[[3.0], [2.0]]]
    absent = Copies.of_classes(torch.tensor([[1, 1]]), 3, codes)
    assert absent.gather.tolist() == [[[0.0, 0.0], [0.5, 0.5], [0.0, 0.0]]]


def test_correlation_of_decoder_rows_by_hand():
    """Rows (3, 4), (4, 3) and (0, 2) of inputs: cosines 24/25, 4/5 and 3/5."""
    weight = torch.tensor([[3.0, 4.0, 0.0], [4.0, 3.0, 2.0]], dtype=F64)
    expected = 2 * (0.96**2 + 0.8**2 + 0.6**2) / 9
    assert float(row_correlation(weight)) == pytest.approx(expected)


def test_glorot_and_half_squares():
    layers = Layers((30, 20, 10), bias=True)
    for matrix, (inputs, outputs) in zip(layers.weights(), ((30, 20), (20, 10)), strict=True):
        bound = math.sqrt(6 / (inputs + outputs))
        assert 0.9 * bound < matrix.abs().max() <= bound
    learner = leo(bias=True)
    matrices = [p for name, p in learner.latent.named_parameters() if "weight" in name]
    assert len(matrices) == 1 + 3 + 1
    expected = sum(float(p.detach().square().sum()) for p in matrices) / 2
    assert float(learner.latent.half_squares().detach()) == pytest.approx(expected)


def test_dropout_keeps_the_mean():
    x = torch.ones(4, 50, 100)
    thinned = Draws(Examples(x, x), dropout=0.3).thinned(x, 0)
    assert sorted(set(thinned.unique().tolist())) == pytest.approx([0.0, 1 / 0.7])
    assert float(thinned.mean()) == pytest.approx(1.0, abs=0.02)
    assert not torch.equal(thinned, Draws(Examples(x, x), dropout=0.3).thinned(x, 1))


def test_gradients_are_clipped_by_value_then_each_by_its_norm():
    learner = leo(clip=0.1, clip_norm=0.15)
    for p in learner.parameters():
        p.grad = torch.zeros_like(p)
    learner.latent_lr.grad = torch.tensor([3.0, -0.2, 0.1, 0.1], dtype=F64)
    learner.finetune_lr.grad[:2] = torch.tensor([0.03, -0.04], dtype=F64)
    learner.clip_gradients()
    expected = [0.075, -0.075, 0.075, 0.075]
    assert learner.latent_lr.grad.tolist() == pytest.approx(expected)
    assert learner.finetune_lr.grad[:2].tolist() == pytest.approx([0.03, -0.04])


# --- ablations ------------------------------------------------------------------------------------


def test_conditional_generator():
    """Without inner steps: the decoder's means, given the encoder's means."""
    tasks, learner = embedded(), leo(inner_steps=0, latent_steps=0)
    (only,) = learner.adapt(tasks.support).params
    code = OneTask(learner, tasks, 0, sampling=False).encode(tasks.support.x[0])[0][:, 0]
    expected = (code @ learner.latent.decoder[0].weight.T)[:, :D]
    torch.testing.assert_close(only["head.weight"][0], expected, rtol=1e-10, atol=1e-12)
    _, metrics = learner.meta_loss(tasks)
    assert metrics["encoder_penalty"].tolist() == [0.0, 0.0]


def test_random_prior():
    """Codes are standard normal draws for each copy; there is no encoder, KL or penalty."""
    tasks, learner = embedded(), leo(prior="standard", inner_steps=0)
    assert not any(
        "encoder" in name or "relation" in name for name, _ in learner.named_parameters()
    )
    path = learner._path(tasks.support, 0, Draws(tasks.support))
    z = normal(tasks.support, (N * K, L), 0, tasks.support.x)
    outputs = Gaussian.of(learner.latent.decoder(z), learner.latent.scales)
    noise = normal(tasks.support, (N * K, D), 2, tasks.support.x)
    torch.testing.assert_close(path.weights[0], outputs.mean + outputs.scale * noise)
    _, metrics = leo(prior="standard").meta_loss(tasks)
    assert metrics["kl"].tolist() == metrics["encoder_penalty"].tolist() == [0.0, 0.0]
    adapted = leo(prior="standard").adapt(tasks.support)
    assert not adapted.params[0]["head.weight"].any()  # the prior's mean
    assert adapted.params[1]["head.weight"].any()


def test_deterministic_has_no_divergence_and_learns_what_adapt_gives():
    tasks, learner = embedded(), leo(stochastic=False)
    _, metrics = learner.meta_loss(tasks)
    assert metrics["kl"].tolist() == [0.0, 0.0]
    outputs = learner.predict(learner.adapt(tasks.support), tasks.query.x)[:, 0]
    torch.testing.assert_close(metrics["loss"], learner.objective.loss(outputs, tasks.query.y))


# --- regression -----------------------------------------------------------------------------------


def test_sizes_of_the_papers_regression():
    """1-40-40-1 with 1761 parameters; encoder 2-16-16-16, relation and decoder of width 32."""
    hidden = {"encoder_hidden": (16, 16), "relation_hidden": (32, 32), "decoder_hidden": (32, 32)}
    learner = LEO(MLP((1,), 1), Regression(), latent_size=16, **hidden)
    parts = (learner.latent.encoder, learner.latent.relation, learner.latent.decoder)
    shapes = [[tuple(weight.shape) for weight in part.weights()] for part in parts]
    assert shapes[0] == [(16, 2), (16, 16), (16, 16)]
    assert shapes[1] == [(32, 32), (32, 32), (32, 32)]
    assert shapes[2] == [(32, 16), (32, 32), (2 * 1761, 32)]
    # weights start with Glorot's scale of their layer, biases without noise
    assert learner.latent.scales.unique().tolist() == pytest.approx(
        [0.0, math.sqrt(2 / 80), math.sqrt(2 / 41)]
    )


def test_regression_generates_the_whole_network():
    """One code per task, the mean over all pairs; the parameters are pieces of its decoding."""
    tasks, network = sinusoids(2), mlp()
    learner = LEO(network, Regression(), latent_size=3, inner_steps=2, latent_steps=1).double()
    params = learner.adapt(tasks.support).params[0]
    x = torch.cat([tasks.support.x[1], tasks.support.y[1]], -1)
    codes = learner.latent.encoder(x)
    nn_relation = nn.Sequential(*learner.latent.relation)
    pairs = torch.stack([torch.cat([a, b]) for a in codes for b in codes])
    mean = learner.latent.decoder(nn_relation(pairs).mean(0)[:3])[:39]
    found = flat(params[name][1] for name, _ in network.named_parameters())
    torch.testing.assert_close(found, mean, rtol=1e-10, atol=1e-12)
    copy = mlp()
    set_parameters(copy, mean)
    expected = copy(tasks.query.x[1:2], Rows())
    outputs = learner.predict(learner.adapt(tasks.support, 0), tasks.query.x)
    torch.testing.assert_close(outputs[1], expected, rtol=1e-10, atol=1e-12)


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_size": 0}, "latent_size=0: accepted is 1 or more"),
        ({"latent_steps": -1}, "latent_steps=-1: accepted is 0 or more"),
        ({"dropout": 1.0}, "dropout=1.0: accepted is 0 or more, below 1"),
        ({"clip_norm": 0.0}, "clip_norm=0.0: accepted is more than 0, or null"),
        ({"samples": -1}, "samples=-1"),
        ({"prior": "encode"}, r"did you mean 'encoder'"),
        ({"inner_loss": "total"}, "inner_loss=total: accepted is mean, sum"),
        ({"kl_weight": -0.1}, "kl_weight=-0.1: accepted is 0 or more"),
        ({"l2": math.inf}, "l2=inf"),
        ({"finetune_lr": -1.0}, "finetune_lr=-1.0"),
        ({"relation_hidden": (5, 0)}, r"relation_hidden=\[5, 0\]"),
    ],
)
def test_bad_values(options, message):
    with pytest.raises(BadValue, match=message):
        leo(**options)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(4, 3), "network._target_=Linear: accepted is a network of mamlbench's own"),
        (Conv4((1, 8, 8), 3, blocks=2, norm="support"), "network.norm=support: accepted is batch"),
    ],
)
def test_networks_that_cannot_be_generated(network, message):
    with pytest.raises(BadValue, match=message):
        LEO(network, Classification())


def test_a_support_set_that_is_not_there_yet():
    class Fresh:
        def __len__(self):
            return 2

        def __call__(self, step, params):
            raise AssertionError("never asked")

    with pytest.raises(UserError, match="algorithm=leo: needs a support set before"):
        leo().adapt(Fresh())
