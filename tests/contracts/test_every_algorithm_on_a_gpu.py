"""Every algorithm makes the same outer steps on a GPU as on a CPU, replayed there or not."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from registered import Problem

from mamlbench.algorithms import MetaLearner, Reptile
from mamlbench.config.tree import ConfigTree
from mamlbench.tasks import Examples, TaskBatch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

# the inner loop amplifies rounding, and Adam makes full steps of gradients that are only rounding
STEADY = {"outer_optimizer": "sgd", "outer_lr": 0.01}


def moved(tasks: TaskBatch) -> TaskBatch:
    def side(examples: Examples) -> Examples:
        return replace(examples, x=examples.x.cuda(), y=examples.y.cuda())

    return TaskBatch(side(tasks.support), side(tasks.query))


def trained(learner: MetaLearner, batches: list[TaskBatch]) -> list[torch.Tensor]:
    metrics = [learner.meta_step(batch) for batch in batches]
    state = [v for v in learner.state_dict().values() if isinstance(v, torch.Tensor)]
    return [*state, *(v for m in metrics for v in m.values())]


@pytest.mark.parametrize("replayed", [False, True])
@pytest.mark.parametrize("algorithm", ConfigTree().choices("algorithm"))
def test_outer_steps_are_those_of_a_cpu(
    problem: Problem, algorithm: str, replayed: bool, caplog: pytest.LogCaptureFixture
):
    on_cpu = problem.learner(algorithm, "tanh", **STEADY)
    on_gpu = copy.deepcopy(on_cpu).cuda()
    on_gpu.start_optimizer()
    if replayed and not on_gpu.replay():
        assert not vars(type(on_gpu)).get("replayable")
        assert type(on_gpu) is not Reptile
        pytest.skip("its steps are not replayed")
    batches = [problem.tasks(3, seed) for seed in range(5)]
    expected = trained(on_cpu, batches)
    found = trained(on_gpu, [moved(batch) for batch in batches])
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=1e-6, atol=1e-8)
    if replayed:
        assert all(replay.trusted >= 1 for replay in replays(on_gpu))
        assert "CUDA graph" not in caplog.text


def replays(learner: MetaLearner):
    """The replays of the meta-gradient, or of inner gradients and the loops around them."""
    named = (getattr(learner, name, None) for name in ("_replay", "_replayed", "_captured"))
    found = [replay for replay in named if replay is not None]
    assert found
    return found
