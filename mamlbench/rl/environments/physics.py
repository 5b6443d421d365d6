"""Many MuJoCo simulations at once, in MuJoCo's own threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mamlbench.rl.environments.extra import imported


def gymnasium_model(name: str, change: Callable[[Any], None] | None = None) -> Any:
    """A `mujoco.MjModel` of gymnasium's `<name>.xml`; `change` edits its `MjSpec` first.

    Raises:
        UserError: MuJoCo or gymnasium is not installed.
    """
    mujoco, gymnasium = imported("mujoco"), imported("gymnasium")
    path = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / f"{name}.xml"
    # settotalmass makes MuJoCo print a warning and write a log file
    mass = 'settotalmass="14"'
    text = path.read_text()
    spec = mujoco.MjSpec.from_string(text.replace(mass, ""))
    # a failed simulation must not reset itself silently
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    if change is not None:
        change(spec)
    model = spec.compile()
    if mass in text:
        mujoco.mj_setTotalmass(model, 14.0)
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


class Physics:
    """N simulations of one model; their states are rows of an array, so one call steps them all.

    Each row depends only on its own past: every call gives MuJoCo the whole state and the
    acceleration from which its solver starts.

    Args:
        model: a `mujoco.MjModel` whose state is positions and velocities, without activations.
        threads: how many simulations advance at the same time.
    """

    def __init__(self, model: Any, threads: int) -> None:
        rollout = imported("mujoco.rollout")
        mujoco = imported("mujoco")
        self.model = model
        self._pool = rollout.Rollout(nthread=threads if threads > 1 else 0)
        self._data = [mujoco.MjData(model) for _ in range(threads)]

    def advance(
        self, state: np.ndarray, acceleration: np.ndarray, control: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Advance the simulations by `steps` time steps under the same control.

        Args:
            state: [N, 1 + nq + nv], time, positions, velocities.
            acceleration: [N, nv], from which the solver of the first step starts.
            control: [N, nu].
            steps: one or more.

        Returns:
            States [N, 1 + nq + nv] afterwards, mean accelerations [N, nv] over the last step, and
            sensor readings [N, nsensordata] from just before the last step.
        """
        count, model = len(state), self.model
        after = np.empty((count, steps, state.shape[1]))
        sensors = np.empty((count, steps, model.nsensordata))
        if count == 0:
            return state, acceleration, sensors.reshape(0, model.nsensordata)
        self._pool.rollout(
            [model] * count,
            self._data,
            np.ascontiguousarray(state),
            np.repeat(control[:, None], steps, axis=1),
            nstep=steps,
            initial_warmstart=np.ascontiguousarray(acceleration),
            state=after,
            sensordata=sensors,
            skip_checks=True,
        )
        last, before = after[:, -1], after[:, -2] if steps > 1 else state
        speeds = slice(1 + model.nq, None)
        gained = (last[:, speeds] - before[:, speeds]) / model.opt.timestep
        return last, gained, sensors[:, -1]

    def close(self) -> None:
        """End the threads."""
        self._pool.close()
