"""Later steps and the search of the trust region."""

import pytest
import torch

from mamlbench.rl.control import Navigation2D
from mamlbench.rl.experience import Experience
from mamlbench.rl.gathering import gathered
from mamlbench.rl.trust_region import TrustRegion


def test_the_step_size_of_later_steps_is_no_matter_of_the_query(small):
    """What judges the adapted policies keeps its advantages as they are."""
    learner, _, _ = small(inner_steps=2)
    tasks = Navigation2D(horizon=6, shots=4, queries=4, later_steps=0.5).sample("train", 0, 0, 3)
    fixed = gathered(learner.float(), tasks)
    deviations = [
        Experience.of(side.y).advantage.std(dim=1, correction=0).mean().item()
        for side in (*fixed.support.steps, fixed.query)
    ]
    assert deviations == pytest.approx([1.0, 0.5, 1.0], rel=1e-4)


def test_a_trust_region_is_searched_as_in_rllab():
    region = TrustRegion([torch.nn.Parameter(torch.zeros(1))])
    assert (region.cg_steps, region.damping) == (10, 1e-5)
    assert (region.shrink, region.lengths) == (0.8, 15)
