"""Meta-gradients against finite differences, and the guarantees of a trust region."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mamlbench.algorithms import MAML, Joint, MetaLearner, NonFiniteError, Reptile
from mamlbench.errors import BadValue, UserError
from mamlbench.networks import MLP
from mamlbench.objectives import Regression
from mamlbench.rl.experience import Experience
from mamlbench.rl.gathering import gathered, trials
from mamlbench.rl.objective import SURROGATES
from mamlbench.rl.trust_region import TrustRegion, conjugate_gradients, fisher_product, summed
from mamlbench.tasks import Examples


def set_parameters(learner, values):
    with torch.no_grad():
        vector_to_parameters(values, learner.parameters())


def parameters(learner):
    return parameters_to_vector(learner.parameters()).detach().clone()


def differences(function, learner, step=1e-5):
    """Central differences of a function with respect to each of the learner's parameters."""
    at, found = parameters(learner), []
    for direction in torch.eye(len(at), dtype=at.dtype):
        ends = []
        for end in (at + step * direction, at - step * direction):
            set_parameters(learner, end)
            ends.append(function())
        found.append((ends[0] - ends[1]) / (2 * step))
    set_parameters(learner, at)
    return torch.stack(found)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_meta_gradient_against_finite_differences(small, surrogate, steps):
    """The query loss on fixed experience, with respect to every parameter."""
    learner, _, tasks = small(surrogate, inner_steps=steps)
    fixed = gathered(learner, tasks)
    learner.meta_gradient(fixed)
    found = torch.cat([p.grad.reshape(-1) for p in learner.parameters()])

    @torch.no_grad()
    def loss():
        outputs = learner.predict(learner.adapt(fixed.support), fixed.query.x)[:, 0]
        return learner.objective.loss(outputs, fixed.query.y).mean()

    torch.testing.assert_close(found, differences(loss, learner), rtol=1e-6, atol=1e-8)


def test_first_order_is_the_query_gradient_at_the_adapted_parameters(small):
    learner, _, tasks = small(first_order=True)
    fixed = gathered(learner, tasks)
    learner.meta_gradient(fixed)
    own = dict(learner.network.named_parameters())
    expected = {name: torch.zeros_like(p) for name, p in own.items()}
    for i in range(3):  # one task at a time, on a copy of the network
        network = copy.deepcopy(learner.network)
        for side in (fixed.support.steps[0], fixed.query):
            y, x = side.y[i : i + 1], side.x[i : i + 1]
            loss = learner.objective.loss(network(x, None), y).sum()
            gradient = torch.autograd.grad(loss, list(network.parameters()))
            if side is not fixed.query:
                with torch.no_grad():
                    for p, g in zip(network.parameters(), gradient, strict=True):
                        p -= 0.3 * g
        for name, g in zip(own, gradient, strict=True):
            expected[name] += g / 3
    for name, p in own.items():
        torch.testing.assert_close(p.grad, expected[name])


def test_reptile_moves_to_where_its_steps_led(small):
    options = {"inner_optimizer": "sgd", "inner_batch": None, "inner_steps": 2, "outer_lr": 0.5}
    learner, _, tasks = small(cls=Reptile, outer_optimizer="sgd", **options)
    fixed, before = gathered(learner, tasks), parameters(learner)
    ends = learner.adapt(fixed.support).params[-1]
    learner.meta_step(tasks)
    mean = torch.cat([ends[n].mean(0).reshape(-1) for n, _ in learner.network.named_parameters()])
    torch.testing.assert_close(parameters(learner), before + 0.5 * (mean - before))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_fisher_product_against_the_fisher_matrix(small, parts):
    """F is the mean of Jᵀ I J over tasks and steps. J is d(policy's outputs)/dθ through the
    adaptation, by finite differences; I is the Fisher matrix of a normal distribution, 1/σ² for a
    mean and 2 for log σ."""
    learner, _, tasks = small()
    fixed = gathered(learner, tasks)
    own = list(learner.parameters())

    @torch.no_grad()
    def outputs():
        return learner.predict(learner.adapt(fixed.support), fixed.query.x)[:, 0]

    jacobian = differences(outputs, learner)  # [parameters, T, M, 4]
    information = torch.cat([(-2 * outputs()[..., 2:]).exp(), torch.full((3, 24, 2), 2.0)], -1)
    scaled = (jacobian * information).flatten(1)
    fisher = scaled @ jacobian.flatten(1).T / (3 * 24)
    product = fisher_product(trials(learner, list(fixed.chunks(parts))), own, damping=0.25)
    columns = [product(v) for v in torch.eye(len(fisher), dtype=fisher.dtype)]
    expected = fisher + 0.25 * torch.eye(len(fisher), dtype=fisher.dtype)
    torch.testing.assert_close(torch.stack(columns), expected, rtol=1e-5, atol=1e-7)


def test_conjugate_gradients_solve():
    a = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix, b = a @ a.T + torch.eye(6), torch.arange(6.0, dtype=torch.float64)
    found = conjugate_gradients(lambda v: matrix @ v, b, steps=20)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, b), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("bound", [1e-4, 1e-2])
def test_a_trust_region_step_keeps_its_bound_and_gains(small, bound, first_order):
    learner, _, tasks = small(outer_optimizer="trpo", outer_lr=bound, first_order=first_order)
    fixed, before = gathered(learner, tasks), parameters(learner)
    measure = trials(learner, [fixed])  # against the policies before the step
    gain_before, none = summed(measure)
    assert none == pytest.approx(0.0, abs=1e-15)
    metrics = learner.meta_step(tasks)
    assert not torch.equal(parameters(learner), before)
    gain, divergence = summed(measure)
    assert gain > gain_before
    assert 0.3 * bound < divergence <= bound
    length, told = learner.optimizer.taken
    assert 0 < length <= 1
    assert told == pytest.approx(divergence)
    assert metrics["step_kl"].tolist() == pytest.approx([divergence] * len(tasks))
    assert metrics["step_length"].tolist() == pytest.approx([length] * len(tasks))


def test_a_trust_region_is_searched_as_in_rllab():
    region = TrustRegion([torch.nn.Parameter(torch.zeros(1))])
    assert (region.cg_steps, region.damping) == (10, 1e-5)
    assert (region.shrink, region.lengths) == (0.8, 15)


def test_a_trust_region_step_does_not_depend_on_chunks(small):
    ends = []
    for chunk in (None, 1, 2):
        learner, _, tasks = small(outer_optimizer="trpo", outer_lr=0.01)
        learner.task_chunk = chunk
        # from iteration 10 on, conjugate gradients find mostly rounding in so small a problem
        learner.optimizer.cg_steps = 5
        learner.meta_step(tasks)
        ends.append(parameters(learner))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(ends[0], ends[2], rtol=1e-7, atol=1e-9)


def test_where_nothing_is_better_the_parameters_stay(small):
    learner, _, tasks = small(outer_optimizer="trpo", outer_lr=0.01)
    fixed, before = gathered(learner, tasks), parameters(learner)
    learner.meta_gradient(fixed)
    for p in learner.parameters():
        p.grad.neg_()  # so that no length gains anything
    learner.optimizer.taken = (1.0, 0.01)
    learner.optimizer.step(trials(learner, [fixed]))
    assert torch.equal(parameters(learner), before)
    assert learner.optimizer.taken == (0.0, 0.0)


@pytest.mark.parametrize("optimizer", ["trpo", "adam"])
def test_a_saved_learner_goes_on_as_if_nothing_had_been(small, optimizer):
    """Two steps, a reload into a new learner and one more step equal three steps, bit for bit."""
    options = {"outer_optimizer": optimizer, "outer_lr": 0.01, "inner_steps": 2}
    first, dataset, _ = small(**options)
    batches = [dataset.sample("train", 0, 3 * n, 3) for n in range(3)]
    first.float()
    for tasks in batches[:2]:
        first.meta_step(tasks)
    file = io.BytesIO()
    torch.save([first.state_dict(), first.optimizer.state_dict()], file)
    first.meta_step(batches[2])
    file.seek(0)
    second, _, _ = small(**options)
    second.float()
    torch.manual_seed(99)
    own, optimizer_state = torch.load(file, weights_only=True)
    second.load_state_dict(own)
    second.optimizer.load_state_dict(optimizer_state)
    second.meta_step(batches[2])
    assert torch.equal(parameters(first), parameters(second))


def test_a_policy_that_is_not_finite_changes_nothing(small):
    learner, _, tasks = small(outer_optimizer="trpo", inner_lr=1e300)
    before = parameters(learner)
    with pytest.raises(NonFiniteError) as error:
        learner.meta_step(tasks)
    assert error.value.losses.shape == (3,)
    assert torch.equal(parameters(learner), before)


def test_trpo_needs_a_policy():
    with pytest.raises(BadValue, match="outer_optimizer=trpo: accepted is adam or sgd"):
        MAML(MLP((1,), 1), Regression(), outer_optimizer="trpo")


def test_trpo_needs_a_gradient_through_the_inner_steps(small):
    learner, _, tasks = small(cls=Reptile, outer_optimizer="trpo", inner_optimizer="sgd")
    with pytest.raises(UserError, match=r"outer_optimizer=trpo: .*Reptile takes no gradient"):
        learner.meta_step(tasks)


def test_joint_training_learns_one_policy_from_what_it_meets_everywhere(small):
    """The gradient is the policy gradient, with advantages over all tasks; also with TRPO."""
    learner, _, tasks = small(cls=Joint, outer_optimizer="trpo", outer_lr=1e-3)
    fixed = gathered(learner, tasks)
    assert fixed.support.steps == []
    met = Experience.of(fixed.query.y)
    taken = met.advantage[met.taken.bool()]
    assert float(taken.mean()) == pytest.approx(0.0, abs=1e-12)
    assert float(taken.std(correction=0)) == pytest.approx(1.0)
    assert float(met.advantage[0].mean().abs()) > 1e-3  # one task alone is not standardised
    learner.meta_gradient(fixed)
    outputs = learner.network(fixed.query.x, None)
    policy = torch.distributions.Normal(outputs[..., :2], outputs[..., 2:].exp())
    log_prob = policy.log_prob(fixed.query.y[..., :2]).sum(-1)
    loss = -(log_prob * fixed.query.y[..., 3]).mean()
    own = list(learner.network.parameters())
    for p, expected in zip(own, torch.autograd.grad(loss, own), strict=True):
        torch.testing.assert_close(p.grad, expected)
    measure = trials(learner, list(fixed.chunks(2)))
    before = summed(measure)[0]
    learner.meta_step(tasks)
    gain, divergence = summed(measure)
    assert gain > before
    assert divergence <= 1e-3


class ForExamples(MetaLearner):
    """A user's learner, written for tasks whose examples are fixed."""

    def adapt(self, support, steps=None):
        params = self.initial(len(support))
        gradient, _ = self.inner_gradient(params, Examples(support.x, support.y), True)
        return self.adapted([params, params | gradient], support)


def test_a_learner_that_needs_fixed_examples_says_so_where_a_policy_acts(small):
    learner, _, tasks = small(cls=ForExamples)
    with pytest.raises(UserError, match=r"adapts to fixed examples, .* accepted is .*support_at\("):
        learner.meta_step(tasks)
