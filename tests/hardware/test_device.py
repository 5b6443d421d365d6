"""Threads and chunks follow from the size of the work."""

from functools import partial

import pytest
import torch
from torch import nn

from mamlbench.algorithms import LEO, MAML, Reptile
from mamlbench.errors import BadValue
from mamlbench.hardware.device import Hardware
from mamlbench.networks import MLP, Conv4, LinearClassifier
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import Examples, TaskBatch


@pytest.mark.usefixtures("_keep_threads")
def test_small_work_takes_one_thread():
    Hardware().apply(values=500)
    assert torch.get_num_threads() == 1
    Hardware().apply(values=10**6)
    large = torch.get_num_threads()
    Hardware(threads=3).apply(values=500)
    assert torch.get_num_threads() == 3
    Hardware().apply(values=10**6)
    assert torch.get_num_threads() == large


def test_a_chunk_is_at_least_one_task_and_as_said():
    assert Hardware().chunk(rows=10, input_shape=(1, 28, 28)) == 637
    assert Hardware().chunk(rows=10, input_shape=(1, 28, 28), replayed=True) == 16
    assert Hardware().chunk(rows=800, input_shape=(3, 84, 84)) == 1
    assert Hardware(task_chunk=7).chunk(rows=80, input_shape=(3, 84, 84)) == 7


def test_what_is_tested_at_a_time_is_bounded_on_a_gpu_too(monkeypatch):
    image = (1, 28, 28)
    on_cpu, on_gpu, told = Hardware(), Hardware(), Hardware(task_chunk=7)
    devices = {id(on_cpu): torch.device("cpu"), id(on_gpu): torch.device("cuda")}
    monkeypatch.setattr(Hardware, "torch_device", property(lambda self: devices[id(self)]))
    assert on_gpu.chunk(10, image) is None  # all tasks of a meta-batch
    assert [h.chunk_to_test(10, image, kept=9) for h in (on_cpu, on_gpu, told)] == [637, 1275, 7]
    # Reptile's 50 steps of 111,261 parameters
    assert [h.chunk_to_test(35, image, 51 * 111_261) for h in (on_cpu, on_gpu)] == [11, 94]
    assert on_gpu.chunk_to_test(10**9, image, 10**9) == 1


@pytest.mark.parametrize(
    ("steps", "replay", "chunk"), [(0, False, 159), (1, False, 159), (50, False, 6), (1, True, 4)]
)
def test_a_graph_through_more_inner_steps_takes_fewer_tasks_at_a_time(steps, replay, chunk):
    learner = MAML(Conv4((1, 28, 28), 20, filters=2), Classification(), inner_steps=steps)
    Hardware(replay=replay).prepare(learner, 20, 20, (1, 28, 28))
    assert learner.task_chunk == chunk  # 5,000,000 or 130,000 // ((20 steps + 20) 784)


def test_small_batches_are_sampled_many_at_a_time():
    on_cpu = Hardware()
    assert [on_cpu.batches_at_once(values) for values in (10, 500, 40_000, 10**6)] == [64, 64, 2, 1]


def test_chunks_are_of_even_size():
    learner = MAML(MLP((1,), 1), Regression(), task_chunk=5)
    tasks = TaskBatch(*(Examples(torch.zeros(16, 3, 1), torch.zeros(16, 3, 1)) for _ in range(2)))
    assert [len(part) for part in learner._chunks(tasks)] == [4, 4, 4, 4]


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "cuda:x", ""])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(BadValue, match="device="):
        Hardware(device=device)


def test_tf32_is_a_gpu_matter():
    with pytest.raises(BadValue, match=r"precision=tf32: accepted is float32, float64 or bf16"):
        Hardware(precision="tf32")


def prepared(precision, network):
    learner = MAML(network, Classification(), inner_lr=0.1, inner_steps=2)
    Hardware(precision=precision).prepare(learner, 24, 24, (1, 8, 8))
    return learner


NETWORKS = {"conv4": partial(Conv4, filters=4, blocks=2), "mlp": partial(MLP, hidden=(16,))}


@pytest.mark.parametrize("kind", NETWORKS.values(), ids=NETWORKS)
def test_bf16_shortens_the_products_and_nothing_else(kind):
    torch.manual_seed(1)
    y = torch.arange(24).remainder(3).expand(3, 24)
    tasks = TaskBatch(*(Examples(torch.rand(3, 24, 1, 8, 8), y) for _ in range(2)))
    gradients = []
    for precision in ("float32", "bf16"):
        torch.manual_seed(0)
        learner = prepared(precision, kind((1, 8, 8), 3, norm="batch"))
        metrics = learner.meta_gradient(tasks)
        assert metrics["loss"].dtype == torch.float32
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in learner.parameters())
        gradients.append(torch.cat([p.grad.flatten() for p in learner.parameters()]))
    exact, short = gradients
    assert not torch.equal(exact, short)
    assert torch.cosine_similarity(exact, short, dim=0) > 0.98


def test_bf16_is_refused_where_it_would_do_nothing():
    with pytest.raises(BadValue, match=r"hardware\.precision=bf16: accepted is float32"):
        prepared("bf16", nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))


def test_inner_steps_that_cannot_be_computed_again_are_refused():
    learner = LEO(LinearClassifier((6,), 3), Classification())
    with pytest.raises(
        BadValue, match=r"hardware\.checkpoint_inner_steps=true: accepted is false: LEO keeps"
    ):
        Hardware(checkpoint_inner_steps=True).prepare(learner, 3, 3, (6,))


def test_what_cannot_be_compiled_is_refused():
    learner = Reptile(MLP((1,), 3), Classification())
    with pytest.raises(
        BadValue, match=r"hardware\.compile=true: accepted is false: Reptile's steps"
    ):
        Hardware(compile=True).prepare(learner, 6, 6, (1,))
