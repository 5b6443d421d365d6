"""Rendering of MuJoCo's bodies without a screen."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from mamlbench.errors import UserError
from mamlbench.rl.environments.extra import imported
from mamlbench.rl.environments.mujoco import MuJoCoEnvironments


def frames(
    environments: MuJoCoEnvironments, states: np.ndarray, width: int = 240, height: int = 160
) -> np.ndarray:
    """Pictures from the camera that follows the body.

    Args:
        environments: whose body to show; its episodes are not touched.
        states: [F, 1 + nq + nv], rows as in `MuJoCoEnvironments.states`.
        width: in pixels.
        height: in pixels.

    Returns:
        [F, height, width, 3] uint8.

    Raises:
        UserError: this machine cannot render without a screen.
    """
    mujoco, model = imported("mujoco"), environments.model
    context = _context(width, height)
    try:
        context.make_current()
        drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_resizeOffscreen(width, height, drawing)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, drawing)
        scene, data = mujoco.MjvScene(model, maxgeom=1000), mujoco.MjData(model)
        camera, options = mujoco.MjvCamera(), mujoco.MjvOption()
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        camera.fixedcamid = model.camera("track").id
        pictures = np.empty((len(states), height, width, 3), dtype=np.uint8)
        for picture, state in zip(pictures, states, strict=True):
            data.qpos[:], data.qvel[:] = np.split(state[1:], [model.nq])
            mujoco.mj_forward(model, data)
            shown = mujoco.mjtCatBit.mjCAT_ALL
            mujoco.mjv_updateScene(model, data, options, None, camera, shown, scene)
            area = mujoco.MjrRect(0, 0, width, height)
            mujoco.mjr_render(area, scene, drawing)
            mujoco.mjr_readPixels(picture, None, area, drawing)
        drawing.free()
    finally:
        context.free()
    return pictures[:, ::-1]  # OpenGL counts rows from the bottom


def write_clip(path: Path, pictures: np.ndarray, seconds: float) -> None:
    """Write frames [F, h, w, 3] as an endless GIF that shows each for `seconds`."""
    imageio = imported("imageio.v3")
    imageio.imwrite(path, pictures, extension=".gif", duration=1000.0 * seconds, loop=0)


def _context(width: int, height: int) -> Any:
    """A MuJoCo OpenGL context that needs no screen: EGL or OSMesa, as MUJOCO_GL says if set."""
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    failures = []
    for backend in [wanted] if wanted in ("egl", "osmesa") else ["egl", "osmesa"]:
        try:
            return importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        except Exception as error:  # each library raises its own errors
            failures.append(f"{backend}: {' '.join(str(error).split())}")
    raise UserError(f"no rendering without a screen here ({'; '.join(failures)}); it needs libegl1")
