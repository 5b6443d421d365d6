"""The only place that imports learn2learn, an optional dependency; silences its import."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from types import ModuleType

import torch

from mamlbench.errors import UserError

_nms: list[torch.library.Library] = []  # a definition lives as long as its Library object


def learn2learn() -> ModuleType:
    """The module `learn2learn`.

    Output and warnings of its import (gym's end of life, old syntax) are suppressed. It imports
    torchvision, which is made importable even with a torch that it was not built for.

    Raises:
        UserError: it is not installed or does not import; the message says how to install it.
    """
    noise = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(noise),
        contextlib.redirect_stderr(noise),
    ):
        warnings.simplefilter("ignore")
        try:
            _import_torchvision()
            # not the bare name, which any folder named learn2learn on the path would satisfy
            importlib.import_module("learn2learn.algorithms")
            return sys.modules["learn2learn"]
        except ModuleNotFoundError as error:
            name = (error.name or "learn2learn").partition(".")[0]
            raise UserError(
                f"{name} is not installed; scripts/install_learn2learn.sh installs learn2learn and "
                "all that it needs"
            ) from error
        except (ImportError, RuntimeError, AttributeError) as error:
            raise UserError(
                f"learn2learn does not import ({error}); scripts/install_learn2learn.sh installs "
                "the version that does"
            ) from error


def _import_torchvision() -> None:
    """Import torchvision, declaring its operator nms if its own library does not load.

    The library of compiled operators loads only with the torch that it was built for. Nothing here
    calls the operators, but the import registers a shape rule for nms, which must exist for that.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        if _nms or hasattr(torch.ops.torchvision, "nms"):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _nms.append(library)
        importlib.import_module("torchvision")
