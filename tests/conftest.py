"""What tests of several folders need."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import local_slurm
import pytest
import runs
import torch

from mamlbench.datasets.images import ImageDataset
from mamlbench.errors import UserError
from mamlbench.learn2learn_import import learn2learn


@pytest.fixture(scope="session")
def l2l() -> ModuleType:
    """learn2learn: skipped where it is missing, but never under CI."""
    try:
        return learn2learn()
    except UserError as error:
        runs.lacking(str(error))


@pytest.fixture(scope="session", autouse=True)
def _no_proxy():
    """Servers of tests are on this machine, and requests would ask a proxy for them too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session")
def needing_data() -> Callable[[ImageDataset], None]:
    """`needing_data(dataset)`: skips where its real pictures are not in MAMLBENCH_DATA.

    Where CI sets MAMLBENCH_DATA they are, or the test fails.
    """

    def check(dataset: ImageDataset) -> None:
        folder = os.environ.get("MAMLBENCH_DATA")
        if not folder:
            pytest.skip("MAMLBENCH_DATA is not set")
        if not dataset.available:
            runs.lacking(f"MAMLBENCH_DATA={folder} has no {type(dataset).__name__} in it")

    return check


@pytest.fixture
def no_figures():
    """Runs of this process draw none; see `runs.without_figures`."""
    with runs.without_figures():
        yield


@pytest.fixture
def _keep_threads():
    """Torch has as many threads after the test as before it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def disk(tmp_path):
    """`disk(options)`: a file system of its own, mounted anew with other options at each call."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str, again: bool = True) -> Path:
        options = f"remount,{options}" if again else options
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        return folder

    try:
        mount("size=20k", again=False)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system takes root")
    yield mount
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(disk):
    """A file system of 256 kB."""
    return disk("size=256k")


@pytest.fixture(scope="session")
def slurm_conf(tmp_path_factory):
    """A SLURM of one node; the file that tells its commands of it. Never skipped under CI."""
    with local_slurm.running(tmp_path_factory.mktemp("slurm") / "local", CPUS="6") as conf:
        yield str(conf)
