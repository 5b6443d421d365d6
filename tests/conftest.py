"""What tests of several folders need."""

import subprocess
from types import ModuleType

import local_slurm
import pytest
import runs

from mamlbench.errors import UserError
from mamlbench.learn2learn_import import learn2learn


@pytest.fixture(scope="session")
def l2l() -> ModuleType:
    """learn2learn: skipped where it is missing, but never under CI."""
    try:
        return learn2learn()
    except UserError as error:
        runs.lacking(str(error))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def slurm_conf(tmp_path_factory):
    """A SLURM of one node; the file that tells its commands of it. Never skipped under CI."""
    with local_slurm.running(tmp_path_factory.mktemp("slurm") / "local", CPUS="6") as conf:
        yield str(conf)
