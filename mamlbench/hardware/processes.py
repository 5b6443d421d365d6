"""Which of several processes this one is, according to torchrun or srun; starting several."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mamlbench.errors import AFTER_SIGNAL, Lost

_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
_START = "forkserver"  # each process starts with all modules imported
_TO_SAVE = "3600"  # seconds; torchrun's agent would kill a run that is not saved within 30
_FIRST_PORT, _PORTS = 10_000, 20_000  # below Linux's ephemeral ports


@dataclass(frozen=True)
class Place:
    """One process among those that share a run.

    Attributes:
        rank: the process's number, from 0.
        size: number of processes.
        local_rank: the process's number on its machine, from 0.
        local_size: number of processes on its machine.
        address: host and port where they meet; None if torch finds them in the environment.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    address: str | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0


def here() -> Place:
    """This process's place, from torchrun's variables or else from those of srun's job step."""
    env = os.environ
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= env.keys():
        rank, size = int(env["RANK"]), int(env["WORLD_SIZE"])
        local = int(env.get("LOCAL_RANK", rank)), int(env.get("LOCAL_WORLD_SIZE", size))
        return Place(rank, size, *local)
    # SLURM_NTASKS will not do: a batch script has it too, without being one of the tasks
    size = int(env.get("SLURM_STEP_NUM_TASKS", 1))
    if size == 1:
        return Place()
    on_nodes = env.get("SLURM_STEP_TASKS_PER_NODE", str(size))  # such as 2(x3),1
    local_size = int(on_nodes.partition(",")[0].partition("(")[0])
    rank, local_rank = int(env["SLURM_PROCID"]), int(env["SLURM_LOCALID"])
    return Place(rank, size, local_rank, local_size, _meeting_point())


def share_of(cores: int) -> int:
    """How many of the cores that a process sees are its own; at least 1.

    SLURM gives each task its own cores, but clusters need not bind tasks to them; other processes
    see the cores of the whole machine.
    """
    place = here()
    cores = min(cores, int(os.environ.get("SLURM_CPUS_PER_TASK", cores)))
    return cores if place.address is not None else max(1, cores // place.local_size)


def _meeting_point() -> str:
    """The first node of this job step, and a port that other steps on it are unlikely to use."""
    env = os.environ
    host = env.get("MASTER_ADDR")
    if host is None:
        nodes = ["scontrol", "show", "hostnames", env["SLURM_STEP_NODELIST"]]
        host = subprocess.run(nodes, check=True, capture_output=True, text=True).stdout.split()[0]
    step = 1000 * int(env.get("SLURM_STEP_ID", 0))
    port = _FIRST_PORT + (int(env["SLURM_JOB_ID"]) + step) % _PORTS
    return f"{host}:{env.get('MASTER_PORT', port)}"


def launch(count: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run `function(*arguments)` in `count` processes here, started by torchrun's agent.

    The function must belong to a module, and its arguments and results must be picklable. Signals
    in `_HANDED_ON` that this process receives are passed on to the others.

    Returns:
        The function's result in the first process.

    Raises:
        Lost: a process failed; the agent has ended the others.
        SystemExit: with 128 + n after signal n.
    """
    import torch.multiprocessing
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    torch.multiprocessing.get_context(_START).set_forkserver_preload(["mamlbench.experiment"])
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", _TO_SAVE)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        start_method=_START,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle=",".join(number.name for number in _HANDED_ON),
    )
    with _handlers_kept(), _quiet_agent(), _on_this_machine():
        try:
            return elastic_launch(config, _in_a_session)(function, *arguments)[0]
        except SignalException as stop:
            raise SystemExit(AFTER_SIGNAL + stop.sigval) from None
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode > AFTER_SIGNAL:
                raise SystemExit(failure.exitcode) from None
            how = _how_it_ended(rank, count, failure.exitcode)
            raise Lost(how, failure.exitcode) from None


def _in_a_session(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function out of reach of the terminal's Ctrl-C, which the agent passes on."""
    os.setsid()
    return function(*arguments)


def _how_it_ended(rank: int, count: int, exit_code: int) -> str:
    process = f"process {rank} of {count}"
    if exit_code >= 0:
        return f"{process} failed, see its error above, and the others were ended"
    name = signal.Signals(-exit_code).name
    memory = ", which the system sends when memory runs out" if name == "SIGKILL" else ""
    return (
        f"{process} was ended by {name}{memory}; the others were ended too; "
        "the same command goes on from the last checkpoint"
    )


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Restore the signal handlers, which the agent sets and leaves behind."""
    before = {number: signal.getsignal(number) for number in _HANDED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _quiet_agent() -> Iterator[None]:
    """Silence the agent's messages; ours are shorter."""
    import logging

    log = logging.getLogger("torch.distributed.elastic")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def _on_this_machine() -> Iterator[None]:
    """Make gloo use the loopback device, because the machine's name may not resolve."""
    name = "GLOO_SOCKET_IFNAME"
    if name in os.environ or "lo" not in [device for _, device in socket.if_nameindex()]:
        yield
        return
    os.environ[name] = "lo"
    try:
        yield
    finally:
        del os.environ[name]
