"""`scripts/local_slurm.sh`: its error messages and its number of cores."""

import os
import shutil
import subprocess

from local_slurm import SCRIPT, running


def run(*arguments: str, path: str) -> subprocess.CompletedProcess:
    # call bash by its absolute path, because the script's first line searches PATH for bash
    bash = shutil.which("bash")
    command, environment = [bash, SCRIPT, *arguments], {**os.environ, "PATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_missing_packages(tmp_path):
    done = run("start", str(tmp_path / "local"), path=str(tmp_path))
    assert done.returncode == 3
    assert done.stderr == (
        "local_slurm.sh: munged slurmctld slurmd sbatch squeue scontrol not found: "
        "apt-get install --no-install-recommends slurm-wlm munge\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_wrong_use():
    done = run("begin", path=os.environ["PATH"])
    assert done.returncode == 2
    assert "scripts/local_slurm.sh start [FOLDER]" in done.stdout


def test_nothing_to_stop(tmp_path):
    done = run("stop", str(tmp_path), path=os.environ["PATH"])
    assert done.returncode == 2
    assert done.stderr.endswith("nothing to stop: " + f"{tmp_path} has no slurm.conf\n")


def test_as_many_cores_as_the_machine_has_whatever_openmp_is_told(tmp_path, monkeypatch):
    """`nproc` obeys OMP_NUM_THREADS, which does not limit the cores that SLURM may use."""
    monkeypatch.delenv("CPUS", raising=False)
    with running(tmp_path / "local", OMP_NUM_THREADS="1") as conf:
        assert f" CPUs={len(os.sched_getaffinity(0))} " in conf.read_text()
