"""What a run under SLURM asks for; see `conf/hardware/slurm_cpu.yaml`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mamlbench.errors import BadValue, require

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")


@dataclass(frozen=True)
class Submission:
    """How runs are submitted, and what each of them asks for.

    Attributes:
        partition: SLURM partition (None: the cluster's default, likewise below).
        account: who pays.
        qos: quality of service.
        constraint: features that a node must have, as `a100|h100`.
        time: minutes, or SLURM's forms `minutes`, `hours:minutes:seconds`, `days-hours`; in a YAML
            file in quotes, since YAML reads a bare 4:00:00 as the number 14400, here ten days.
        memory: GB on each node.
        cpus: cores of each task.
        gpus: GPUs on each node, as a number or with their type, `a100:2`.
        nodes: nodes of a run.
        tasks_per_node: processes on each node.
        setup: shell commands before a run, such as `module load cuda`.
        array_parallelism: runs of an array at the same time.
        signal_before: seconds before the time limit at which a run saves and is queued again; more
            than an outer step with its validation takes, or the job ends before it has saved.
        max_requeues: times that a run goes back to the queue.
        sbatch: further options of sbatch by their long names.
        detach: return as soon as the jobs are submitted.

    Raises:
        BadValue: a value out of range.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: int | str = 60
    memory: float | int | None = None
    cpus: int | None = None
    gpus: int | str | None = None
    nodes: int = 1
    tasks_per_node: int = 1
    setup: tuple[str, ...] = ()
    array_parallelism: int = 256
    signal_before: int = 120
    max_requeues: int = 100
    sbatch: Mapping[str, Any] | None = None
    detach: bool = False

    def __post_init__(self) -> None:
        for option in ("nodes", "tasks_per_node", "array_parallelism"):
            require(getattr(self, option) >= 1, option, getattr(self, option), "1 or more")
        require(self.cpus is None or self.cpus >= 1, "cpus", self.cpus, "1 or more, or null")
        memory = self.memory
        require(memory is None or memory > 0, "memory", memory, "more than 0 GB, or null")
        require(self.max_requeues >= 0, "max_requeues", self.max_requeues, "0 or more")
        require(self.minutes >= 1, "time", self.time, "a minute or more")
        most = 60 * self.minutes
        within = 0 <= self.signal_before < most
        require(within, "signal_before", self.signal_before, f"0 to {most - 1}, within the time")

    @property
    def minutes(self) -> int:
        """The time limit in whole minutes, rounded up as SLURM does."""
        if isinstance(self.time, int):
            return self.time
        match = _TIME.fullmatch(self.time)
        if match is None:
            raise BadValue("time", self.time, "minutes, hours:minutes:seconds or days-hours")
        parts = [int(part) for part in match["clock"].split(":")]
        if match["days"] is None and len(parts) < 3:  # minutes[:seconds]
            parts = [0, *parts]
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        seconds += 60 * minutes + 3600 * hours
        return math.ceil((86400 * int(match["days"] or 0) + seconds) / 60)

    def parameters(self) -> dict[str, Any]:
        """The same in submitit's words."""
        asked = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus,
        }
        further = {
            "requeue": True,
            # in USR1, the run's word for it, not submitit's
            "signal": f"USR1@{self.signal_before}",
            **({} if self.memory is None else {"mem": f"{math.ceil(1024 * self.memory)}M"}),
            **(self.sbatch or {}),
        }
        return {
            **{name: value for name, value in asked.items() if value is not None},
            "job_name": "mamlbench",
            "wckey": None,  # submitit's own is refused where such keys are kept track of
            "time": self.minutes,
            "nodes": self.nodes,
            "ntasks_per_node": self.tasks_per_node,
            "array_parallelism": self.array_parallelism,
            "setup": [
                "export SLURM_OPEN_MODE=append",  # srun's log of a next turn after the one before
                f"export MAMLBENCH_MAX_REQUEUES={self.max_requeues}",
                *self.setup,
            ],
            "stderr_to_stdout": True,
            "additional_parameters": further,
        }


NAMES = tuple(entry.name for entry in fields(Submission))
"""The options under `hardware` that say how to submit, not how to compute."""


def is_submitted(hardware: Mapping[str, Any]) -> bool:
    """Whether this `hardware` node says how to submit runs to SLURM."""
    return "detach" in hardware


def of_the_run(hardware: Mapping[str, Any]) -> dict[str, Any]:
    """The `hardware` node without what concerns the submission alone."""
    left_out: Sequence[str] = NAMES if is_submitted(hardware) else ()
    return {name: value for name, value in hardware.items() if name not in left_out}
