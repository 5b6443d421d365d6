"""The kernel and the direction of SVGD: by hand, by plain loops, by autograd, and on a Gaussian."""

from __future__ import annotations

import math

import pytest
import torch
from problems import F64, relative_error

from mamlbench.algorithms.svgd import rbf_kernel, squared_bandwidth, svgd

BANDWIDTHS = ("org", "med", "mean")


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def plain_bandwidth(particles, bandwidth: str) -> float | torch.Tensor:
    """Medians as numbers, which have no gradient; the mean as a tensor, which has one."""
    count = len(particles)
    pairs = [(i, j) for i in range(count) for j in range(count)]
    if bandwidth == "mean":
        apart = [(particles[i] - particles[j]).norm() for i, j in pairs if i < j]
        return torch.stack(apart).mean().square() / math.log(count + 1)
    particles = particles.detach()
    if bandwidth == "org":
        squares = sorted(float((particles[i] - particles[j]).square().sum()) for i, j in pairs)
        middle = (squares[(len(squares) - 1) // 2] + squares[len(squares) // 2]) / 2
        return middle / math.log(count)
    apart = sorted(float((particles[i] - particles[j]).norm()) for i, j in pairs if i < j)
    middle = (apart[(len(apart) - 1) // 2] + apart[len(apart) // 2]) / 2
    return middle**2 / math.log(count)


def plain_svgd(particles, gradient, bandwidth: str, factor: float) -> torch.Tensor:
    """One task's direction, particle by particle; `factor` 2 is the exact repulsion."""
    h, count = plain_bandwidth(particles, bandwidth), len(particles)
    directions = []
    for m in range(count):
        total = 0
        for j in range(count):
            k = torch.exp(-(particles[j] - particles[m]).square().sum() / h)
            total = total + k * gradient[j] + factor / h * k * (particles[m] - particles[j])
        directions.append(total / count)
    return torch.stack(directions)


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bandwidth", "h", "k"),
    [
        ("org", 2 / math.log(2), 1 / 4),  # the median of 0, 0, 4, 4
        ("med", 4 / math.log(2), 1 / 2),
        ("mean", 4 / math.log(3), 1 / 3),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_two_particles_at_0_and_2(bandwidth, h, k, exact):
    particles = torch.tensor([[[0.0], [2.0]]], dtype=F64)
    kernel, repulsion = rbf_kernel(particles, bandwidth, exact)
    torch.testing.assert_close(kernel[0], torch.tensor([[1.0, k], [k, 1.0]], dtype=F64))
    away = (2 if exact else 1) * k * 2 / h
    assert repulsion.flatten().tolist() == pytest.approx([-away, away])
    found = svgd(particles, torch.tensor([[[1.0], [3.0]]], dtype=F64), bandwidth, exact)
    expected = [(1 + 3 * k - away) / 2, (k + 3 + away) / 2]
    assert found.flatten().tolist() == pytest.approx(expected)


def test_one_particle_ascends_its_own_gradient():
    particles, gradient = some(3, 1, 5), some(3, 1, 5, seed=1)
    assert torch.equal(svgd(particles, gradient, "org", False), gradient)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_particles_in_one_place_move_as_one(bandwidth):
    particles = some(1, 1, 4).expand(2, 3, 4).clone().requires_grad_()
    gradient = some(2, 3, 4, seed=1)
    found = svgd(particles, gradient, bandwidth, True)
    mean = gradient.mean(1, keepdim=True).expand(2, 3, 4)
    torch.testing.assert_close(found.detach(), mean, rtol=0, atol=1e-12)
    (through,) = torch.autograd.grad(found.sum(), particles)
    assert torch.isfinite(through).all()


# --- against plain loops and autograd -------------------------------------------------------------


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("count", [2, 4, 5])
@pytest.mark.parametrize("exact", [False, True])
def test_direction_and_its_derivative_are_those_of_plain_loops(bandwidth, count, exact):
    particles = (3 + some(2, count, 7)).requires_grad_()
    gradient = some(2, count, 7, seed=1).requires_grad_()
    found = svgd(particles, gradient, bandwidth, exact)
    pairs = zip(particles, gradient, strict=True)
    expected = torch.stack([plain_svgd(p, g, bandwidth, 2 if exact else 1) for p, g in pairs])
    assert relative_error(found, expected) < 1e-12
    weights = some(2, count, 7, seed=2)
    ours, theirs = (
        torch.autograd.grad((weights * d).sum(), [particles, gradient]) for d in (found, expected)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert relative_error(one, other) < 1e-11


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_exact_repulsion_is_the_kernels_gradient(bandwidth):
    particles = some(1, 5, 3)
    _, repulsion = rbf_kernel(particles, bandwidth, True)
    _, half = rbf_kernel(particles, bandwidth, False)
    h = plain_bandwidth(particles[0], bandwidth)
    for m in range(5):
        others = particles[0].clone().requires_grad_()
        kernel = torch.exp(-(others - particles[0, m]).square().sum(1) / h)
        (each,) = torch.autograd.grad(kernel.sum(), others)
        torch.testing.assert_close(repulsion[0, m], each.sum(0))
    torch.testing.assert_close(2 * half, repulsion)


def test_tasks_have_bandwidths_of_their_own():
    particles = torch.cat([some(1, 4, 3), 10 * some(1, 4, 3)])
    distances = torch.cdist(particles, particles).square()
    one, other = squared_bandwidth(distances, "med").tolist()
    assert other == pytest.approx(100 * one)


def test_particles_of_one_task_never_touch_anothers():
    particles, gradient = some(3, 4, 6), some(3, 4, 6, seed=1)
    before = svgd(particles, gradient, "org", False)
    particles[1], gradient[1] = 7 * particles[1], float("nan")
    after = svgd(particles, gradient, "org", False)
    for task in (0, 2):
        assert torch.equal(before[task], after[task])


def test_reaches_the_mean_and_the_covariance_of_a_gaussian():
    mean = torch.tensor([1.0, -2.0], dtype=F64)
    covariance = torch.tensor([[2.0, 0.8], [0.8, 1.0]], dtype=F64)
    precision = torch.linalg.inv(covariance)
    particles = some(1, 100, 2)
    for _ in range(600):
        gradient = -(particles - mean) @ precision
        particles = particles + svgd(particles, gradient, "med", True)
    torch.testing.assert_close(particles[0].mean(0), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(particles[0].T.cov(), covariance, rtol=0.1, atol=0)
