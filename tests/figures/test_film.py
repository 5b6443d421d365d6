"""Frames of a body before and after adaptation."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mujoco", reason="needs the rl extra: mujoco")
pytest.importorskip("gymnasium", reason="needs the rl extra: gymnasium")

from mamlbench.algorithms import MAML
from mamlbench.errors import UserError
from mamlbench.evaluation import Protocol
from mamlbench.figures import film
from mamlbench.hardware.device import Hardware
from mamlbench.networks import GaussianMLP
from mamlbench.rl.environments.half_cheetah import HalfCheetahDir
from mamlbench.rl.locomotion import Locomotion


@pytest.fixture
def shown(monkeypatch):
    """The states of each series of frames; the frames themselves are black."""
    kept = []

    def frames(bodies, states):
        kept.append(states)
        return np.zeros((len(states), 8, 12, 3), dtype=np.uint8)

    monkeypatch.setattr(film, "frames", frames)
    return kept


def draw(folder):
    dataset = Locomotion("half_cheetah_dir", horizon=12, threads=1, fill=True)
    learner = MAML(GaussianMLP((20,), 12, hidden=(4,)), dataset.objective, inner_lr=0.1)
    protocol = Protocol(shots=2, queries=1, inner_steps=1)
    film.draw_film(learner, dataset, protocol, Hardware(), folder)
    dataset.bodies.close()


def test_frames_and_a_clip_are_of_the_episodes_steps(tmp_path, shown):
    """For two tasks, a row before and a row after: six times from the first state to the last."""
    draw(tmp_path)
    assert [len(states) for states in shown] == [6, 6, 6, 6, 4]
    for states in shown:
        times = 0.01 * (np.arange(0, 13, 4) if len(states) == 4 else np.linspace(0, 12, 6).round(0))
        assert np.allclose(states[:, 0], times, atol=0.011)
    assert len({states[-1].tobytes() for states in shown[:4]}) == 4
    with Image.open(tmp_path / "frames.png") as strip, Image.open(tmp_path / "clip.gif") as clip:
        assert strip.size[0] > 100
        assert clip.size == (12, 8)


def test_an_episode_that_ends_stays_as_it_is(tmp_path, shown, monkeypatch):
    monkeypatch.setattr(HalfCheetahDir, "over", lambda self, state: state[:, 0] > 0.045)
    draw(tmp_path)
    assert [len(states) for states in shown] == [6, 6, 6, 6, 4]
    for states in shown:
        assert np.allclose(states[-2:, 0], 0.05)
        assert np.array_equal(states[-2], states[-1])


def test_no_screen_no_frames_and_a_line_that_says_why(tmp_path, monkeypatch, caplog):
    def frames(bodies, states):
        raise UserError("no rendering without a screen here")

    monkeypatch.setattr(film, "frames", frames)
    draw(tmp_path)
    assert not (tmp_path / "frames.png").exists()
    told = "frames.png and clip.gif are not drawn: no rendering without a screen here"
    assert told in caplog.text
