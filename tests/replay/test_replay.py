"""A replayed meta-gradient equals the meta-gradient bit for bit, or is not used."""

import shutil
from functools import partial

import pytest
import torch
from torch import nn

from mamlbench.algorithms import MAML, Joint, Reptile, inner_adam
from mamlbench.algorithms.captured_loop import Captured, CapturedLoop
from mamlbench.datasets import Sinusoid
from mamlbench.errors import UserError
from mamlbench.hardware.device import Hardware
from mamlbench.networks import MLP
from mamlbench.objectives import Regression
from mamlbench.replay import cuda_graph
from mamlbench.replay import replay as replay_module
from mamlbench.replay.replay import Compiled, Replay
from mamlbench.replay.simplify import traced


@pytest.fixture
def learner_of():
    def build(kind=MAML, **options):
        torch.manual_seed(0)
        options = {"inner_steps": 2, "outer_lr": 0.01, **options}
        return kind(MLP((1,), 1, hidden=(8, 8)), Regression(), **options)

    return build


@pytest.fixture
def batches():
    dataset = Sinusoid(shots=5)
    return [dataset.sample("train", 0, 4 * i, 4) for i in range(6)]


def trained(learner, batches):
    metrics = [learner.meta_step(batch) for batch in batches]
    state = [value for value in learner.state_dict().values() if isinstance(value, torch.Tensor)]
    return [*state, *(v for m in metrics for v in m.values())]


@pytest.mark.parametrize("options", [{}, {"first_order": True}, {"learn_inner_lr": True}])
def test_training_is_the_same_to_the_last_bit(learner_of, batches, options):
    usual, replayed = learner_of(**options), learner_of(**options)
    replayed.replay()
    for a, b in zip(trained(usual, batches), trained(replayed, batches), strict=True):
        assert torch.equal(a, b)
    assert replayed._replay.trusted == 1


def test_random_numbers_are_those_without_a_trace():
    """To trace would draw some, and a resumed run, which traces anew, would go on with others."""

    def function(x):
        return [x * torch.rand_like(x)]

    replay, x = Replay(function), torch.ones(3)
    torch.manual_seed(0)
    found = [replay(x)[0] for _ in range(4)]
    torch.manual_seed(0)
    expected = [function(x)[0] for _ in range(4)]
    assert torch.equal(torch.stack(found), torch.stack(expected))
    assert replay.trusted == 0


def test_a_plain_module_too(batches):
    def learner():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 1))
        return MAML(network, Regression(), inner_lr=0.01, inner_steps=1)

    usual, replayed = learner(), learner()
    replayed.replay()
    for a, b in zip(trained(usual, batches), trained(replayed, batches), strict=True):
        assert torch.equal(a, b)
    assert replayed._replay.trusted == 1


class ByLength(nn.Module):
    """Short and long sets have layers of their own."""

    def __init__(self):
        super().__init__()
        self.short, self.long, self.head = nn.Linear(1, 4), nn.Linear(1, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.head(torch.tanh((self.short if len(x) <= 10 else self.long)(x)))


def test_a_module_whose_parameters_depend_on_the_shape_too():
    batches = [
        Sinusoid(shots=shots, queries=shots).sample("train", 0, 4 * i, 4)
        for i, shots in enumerate([5, 5, 5, 12, 12, 12, 5])
    ]

    def learner():
        torch.manual_seed(0)
        return Joint(ByLength(), Regression(), outer_lr=0.1, outer_optimizer="sgd")

    usual, replayed = learner(), learner()
    replayed.replay()
    for a, b in zip(trained(usual, batches), trained(replayed, batches), strict=True):
        assert torch.equal(a, b)
    assert replayed._replay.trusted == 2


def test_joint_training_too(learner_of, batches):
    usual, replayed = learner_of(Joint), learner_of(Joint)
    replayed.replay()
    for a, b in zip(trained(usual, batches), trained(replayed, batches), strict=True):
        assert torch.equal(a, b)
    assert replayed._replay.trusted == 1


def test_chunks_too(learner_of, batches):
    usual, replayed = learner_of(task_chunk=2), learner_of(task_chunk=2)
    replayed.replay()
    for a, b in zip(trained(usual, batches), trained(replayed, batches), strict=True):
        assert torch.equal(a, b)
    assert replayed._replay.trusted == 1


@pytest.mark.parametrize("moments", ["serial", "shared", "fresh"])
def test_inner_gradients_of_reptile_too(learner_of, batches, moments):
    options = {"inner_batch": 3, "inner_steps": 4, "moments": moments}
    usual, replayed = learner_of(Reptile, **options), learner_of(Reptile, **options)
    assert replayed.replay()
    for a, b in zip(trained(usual, batches), trained(replayed, batches), strict=True):
        assert torch.equal(a, b)
    assert replayed._replayed.trusted >= 1


@pytest.mark.parametrize(
    "options",
    [
        *({"moments": moments} for moments in ("serial", "shared", "fresh")),
        *({"inner_optimizer": "sgd", "tail": tail} for tail in ("none", "separate")),
        {"tail": "separate", "task_chunk": 3},
        {"tail": "shared", "inner_batch": None},
        {"step_weights": (1.0, 0.5, 0.0, 2.0)},
    ],
)
def test_a_loop_to_be_captured_is_the_loop(learner_of, batches, options):
    options = {"inner_batch": 3, "inner_steps": 4, **options}
    usual, captured = (learner_of(Reptile, **options).double() for _ in range(2))
    captured.start_optimizer()
    captured._captured = CapturedLoop(captured._changes, 4)
    usual.start_optimizer()
    batches = [Hardware(precision="float64").cast(batch) for batch in batches]
    for a, b in zip(trained(usual, batches), trained(captured, batches), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    assert captured._captured.trusted == 0  # a CPU has no graphs
    assert usual.moment_steps == captured.moment_steps


@pytest.mark.parametrize("moments", ["serial", "shared", "fresh"])
def test_a_loop_to_be_captured_takes_nothing_from_outside(
    learner_of, batches, moments, monkeypatch
):
    """A trace stands in for the graph: it too fixes everything that is not an input tensor."""
    monkeypatch.setattr(inner_adam, "available", lambda x: False)
    monkeypatch.setattr(Captured, "_graph", lambda self, given, found: traced(self.function, given))
    options = {"inner_batch": 3, "inner_steps": 4, "moments": moments}
    usual, captured = (learner_of(Reptile, **options).double() for _ in range(2))
    for learner in (usual, captured):
        learner.start_optimizer()
    captured._captured = CapturedLoop(captured._changes, 4)
    batches = [Hardware(precision="float64").cast(batch) for batch in batches]
    for a, b in zip(trained(usual, batches), trained(captured, batches), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    graphs = [g for c in captured._captured._captured.values() for g in c._graphs.values()]
    assert len(graphs) == 1


def test_a_captured_function_is_called_as_it_is_at_first():
    calls = []
    captured = Captured(lambda x: [calls.append(len(x)) or x + 1])
    for size in (2, 3, 2, 2, 2):
        assert torch.equal(captured(torch.ones(size))[0], torch.full((size,), 2.0))
    assert calls == [2, 3, 2, 2, 2]
    assert captured.trusted == 0


def test_a_graph_that_cannot_be_or_is_wrong_is_not_taken_and_a_log_says_why(monkeypatch, caplog):
    class Waits:
        def __init__(self, function, inputs):
            raise RuntimeError("it waits\nfor the GPU")

    inputs = [torch.ones(2)]
    for kind, right in ((Waits, True), (lambda function, inputs: function, False)):
        monkeypatch.setattr(cuda_graph, "CudaGraph", kind)
        assert cuda_graph.graph_of(lambda x: [x], inputs, lambda found, right=right: right) is None
    assert [record.getMessage() for record in caplog.records] == [
        "steps run without a CUDA graph, and take longer: it waits",
        "steps run without a CUDA graph, and take longer: the graph gives other numbers",
    ]


def test_reptile_is_not_compiled_and_replays_no_test(learner_of, batches):
    learner = learner_of(Reptile)
    assert not learner.replay(compiled=True)
    assert learner.replay()
    learner.eval()
    for batch in batches:
        learner.adapt(batch.support)
    assert learner._replayed.trusted == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from the compiler's own imports
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_compiled_training_is_the_same_to_rounding(learner_of, batches):
    usual, compiled = learner_of(), learner_of()
    assert compiled.replay(compiled=True)
    for a, b in zip(trained(usual, batches), trained(compiled, batches), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_compiled_is_said():
    def looks_at_values(x):
        return [x * float(x)]

    with pytest.raises(UserError, match=r"^hardware\.compile=true: .*; accepted here is false$"):
        Compiled(looks_at_values)(torch.tensor([2.0]))


def test_a_subclass_must_ask_for_it(learner_of):
    class Own(MAML):
        pass

    learner = learner_of(Own)
    learner.replay()
    assert learner._replay is None


def test_other_shapes_are_traced_anew(learner_of, batches):
    learner = learner_of()
    learner.replay()
    other = [Sinusoid(shots=3).sample("train", 0, 4 * i, 4) for i in range(3)]
    trained(learner, [*batches[:3], *other])
    assert learner._replay.trusted == 2


def test_what_differs_from_its_trace_is_not_replayed():
    calls = []

    def counts(x):
        calls.append(x)
        return [x * len(calls)]

    replay = Replay(counts)
    for i in range(1, 8):
        x = torch.tensor([float(i)])
        before = len(calls)
        (y,) = replay(x)
        assert y == x * (before + 1)
    assert replay.trusted == 0


@pytest.mark.parametrize(("values", "trusted"), [((1.0, -1.0, 2.0), 1), ((1.0, 2.0), 1)])
def test_what_is_not_finite_is_no_reason_to_distrust_a_trace(values, trusted):
    replay = Replay(lambda x: [x.log()])
    for value in values:
        x = torch.tensor([value])
        assert torch.equal(replay(x)[0].nan_to_num(7.0), x.log().nan_to_num(7.0))
    assert replay.trusted == trusted


def test_what_is_long_is_not_traced(monkeypatch):
    monkeypatch.setattr(replay_module, "MOST_OPERATIONS", 30)
    replays = {n: Replay(partial(_times, n)) for n in (20, 40)}
    for n, replay in replays.items():
        for value in (1.0, 2.0, 3.0):
            x = torch.tensor([value])
            assert replay(x)[0] == value + n
    assert [replay.trusted for replay in replays.values()] == [1, 0]


def _times(n, x):
    for _ in range(n):
        x = x + 1.0
    return [x]


def test_what_cannot_be_traced_runs_as_it_is():
    def depends_on_values(x):
        return [x + 1 if x.sum() > 0 else x - 1]

    replay = Replay(depends_on_values)
    found = [float(replay(torch.tensor([v]))[0]) for v in (1.0, -1.0, 2.0, -2.0)]
    assert found == [2.0, -2.0, 3.0, -3.0]


def test_changed_parameters_are_seen():
    layer = nn.Linear(3, 1)

    def gradient(x):
        loss = layer(x).square().sum()
        return list(torch.autograd.grad(loss, list(layer.parameters())))

    replay = Replay(gradient)
    for _ in range(5):
        x = torch.randn(2, 3)
        for a, b in zip(replay(x), gradient(x), strict=True):
            assert torch.equal(a, b)
        with torch.no_grad():
            layer.weight += 1.0
    assert replay.trusted == 1
