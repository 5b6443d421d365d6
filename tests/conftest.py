"""Fixtures for the tests of several folders."""

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
    """The module learn2learn; without it tests are skipped, or fail under CI."""
    try:
        return learn2learn()
    except UserError as error:
        runs.lacking(str(error))


@pytest.fixture(scope="session", autouse=True)
def _no_proxy():
    """Tests use servers on this machine, which requests would otherwise reach by a proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session")
def needing_data() -> Callable[[ImageDataset], None]:
    """`needing_data(dataset)`: skips a test whose real pictures are not in MAMLBENCH_DATA.

    If MAMLBENCH_DATA is set under CI, the test fails instead.
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
    """Runs in this process draw no figures; see `runs.without_figures`."""
    with runs.without_figures():
        yield


@pytest.fixture
def _keep_threads():
    """Restore torch's number of threads after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def disk(tmp_path):
    """`disk(options)`: a separate file system, remounted with these options at each call."""
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
    """The slurm.conf of a running one-node SLURM. Tests are never skipped under CI."""
    with local_slurm.running(tmp_path_factory.mktemp("slurm") / "local", CPUS="6") as conf:
        yield str(conf)
