"""What a protocol asks for, in numbers and in words."""

from __future__ import annotations

import pytest
import torch

from mamlbench.datasets import Glyphs, Sinusoid
from mamlbench.errors import BadValue
from mamlbench.evaluation import Protocol
from mamlbench.rl.control import Navigation2D


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"queries": 15}, (1, 15)),
        ({"queries": 15, "shots": 3}, (3, 15)),
        ({"queries": "shots"}, (1, 1)),
        ({"queries": "shots", "shots": 5}, (5, 5)),
        ({"queries": "remaining"}, (1, 19)),  # 20 drawings of each character
        ({"queries": "remaining", "shots": 5}, (5, 15)),
    ],
)
def test_shots_and_queries(options, expected):
    dataset = Glyphs(shots=1, train_shots=7)
    assert Protocol(**options).shots_and_queries(dataset, "test") == expected


def test_sinusoids_have_no_remaining_points():
    with pytest.raises(BadValue, match="queries=remaining: accepted is a number"):
        Protocol(queries="remaining").shots_and_queries(Sinusoid(), "test")


def test_in_words():
    protocol = Protocol(name="mine", tasks=50, queries="shots", transductive=False, select="last")
    assert protocol.in_words(Glyphs(shots=5), 3, "batch") == (
        "mine: 50 tasks, 5 shots, 5 queries per class, 3 inner steps, each query with the support "
        "set, last checkpoint, 95% interval over tasks"
    )
    asking = Protocol(active_rounds=3, active_pool=8).in_words(Glyphs(), 1, "batch")
    assert asking.endswith("95% interval over tasks; then 3 labels asked for, from 8 points")
    words = Protocol(queries="remaining", shots=2).in_words(Glyphs(), 1, "batch")
    assert "2 shots, all remaining queries per class, 1 inner step, transductive, best" in words


def test_in_words_of_what_has_no_classes_and_no_batch_norm():
    words = Protocol(name="maml", tasks=10000, queries=1).in_words(Sinusoid(shots=1), 0, "none")
    assert words.startswith("maml: 10,000 tasks, 1 shot, 1 query, 0 inner steps, best checkpoint")
    words = Protocol(name="rl", queries=20).in_words(Navigation2D(shots=40), 1, "none")
    assert "40 episodes for each inner step, 20 for each score, 1 inner step, best" in words


@pytest.mark.parametrize(
    ("select", "kept", "words"),
    [
        ("best", 1, "transductive, best checkpoint, 95%"),
        ("last", 1, "transductive, last checkpoint, 95%"),
        ("top1", 1, "transductive, best checkpoint, 95%"),
        ("top12", 12, "transductive, mean outputs of the 12 best checkpoints, 95%"),
    ],
)
def test_which_checkpoints(select, kept, words):
    protocol = Protocol(select=select)
    assert protocol.kept == kept
    assert words in protocol.in_words(Glyphs(), 1, "batch")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("tasks", 0),
        ("validation_tasks", 0),
        ("shots", 0),
        ("inner_steps", -1),
        ("queries", 0),
        ("queries", "all"),
        ("select", "first"),
        ("select", "top0"),
        ("select", "top"),
        ("select", "top5 "),
        ("active_rounds", -1),
        ("active_pool", 0),
    ],
)
def test_bad_values_are_named(option, value):
    with pytest.raises(BadValue) as error:
        Protocol(**{option: value})
    assert error.value.option == option


@pytest.mark.parametrize(("option", "value"), [("select", "top5"), ("active_rounds", 1)])
def test_what_cannot_be_asked_of_a_policy(option, value):
    protocol = Protocol(**{option: value})
    protocol.require_for(Glyphs())
    with pytest.raises(BadValue) as error:
        protocol.require_for(Navigation2D())
    assert error.value.option == option


def test_a_class_has_to_have_queries_left():
    dataset = Glyphs(shots=20, train_shots=1)
    dataset.load(torch.device("cpu"))
    with pytest.raises(BadValue, match="shots=20: accepted is fewer: a test class has no ex"):
        Protocol(queries="remaining").shots_and_queries(dataset, "test")
