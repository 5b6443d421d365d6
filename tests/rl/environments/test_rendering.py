import numpy as np
import pytest

from mamlbench.errors import UserError

pytest.importorskip("mujoco", reason="needs the rl extra: mujoco")
pytest.importorskip("gymnasium", reason="needs the rl extra: gymnasium")
imageio = pytest.importorskip("imageio.v3", reason="needs the rl extra: imageio")

from mamlbench.rl.environments.half_cheetah import HalfCheetahDir  # noqa: E402
from mamlbench.rl.environments.rendering import frames, write_clip  # noqa: E402


def rendered(states):
    try:
        return frames(HalfCheetahDir(), states, width=64, height=48)
    except UserError as error:
        pytest.skip(str(error))


def test_a_body_that_turns_is_seen_to_turn_and_the_same_state_looks_the_same(tmp_path):
    states = np.zeros((3, 19))
    states[1, 3] = 1.5  # the torso's angle
    pictures = rendered(states)
    assert pictures.shape == (3, 48, 64, 3)
    assert np.array_equal(pictures[0], pictures[2])
    changed = (pictures[0] != pictures[1]).any(-1).mean()
    assert changed > 0.02
    # the body is orange, about (204, 153, 102), so more red than blue, and fills less than half
    orange = pictures[0][..., 0].astype(int) - pictures[0][..., 2] > 40
    assert 5 < orange.sum() < 0.5 * 48 * 64
    write_clip(tmp_path / "clip.gif", pictures, 0.1)
    assert imageio.imread(tmp_path / "clip.gif").shape[-3:] == (48, 64, 3)
