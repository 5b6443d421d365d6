"""What tests of several folders need."""

import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from mamlbench.errors import UserError
from mamlbench.learn2learn_import import learn2learn


@pytest.fixture(scope="session")
def l2l() -> ModuleType:
    """learn2learn: skipped where it is missing, but never under CI."""
    try:
        return learn2learn()
    except UserError as error:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"CI is set, and {error}")
        pytest.skip(str(error))


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


LOCAL_SLURM = Path(__file__).parents[1] / "scripts/local_slurm.sh"


@pytest.fixture(scope="session")
def slurm_conf(tmp_path_factory):
    """A SLURM of one node; the file that tells its commands of it. Never skipped under CI."""
    folder = tmp_path_factory.mktemp("slurm") / "local"
    start = [LOCAL_SLURM, "start", folder]
    started = subprocess.run(start, env={**os.environ, "CPUS": "6"}, capture_output=True, text=True)
    if started.returncode != 0:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"CI is set, and {started.stderr}")
        assert started.returncode in (3, 4), started.stderr
        pytest.skip(started.stderr.strip())
    yield started.stdout.strip().removeprefix("export SLURM_CONF=")
    subprocess.run([LOCAL_SLURM, "stop", folder], check=True)
    assert not folder.exists()
