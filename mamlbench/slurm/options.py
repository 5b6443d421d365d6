"""Options of SLURM jobs; see `conf/hardware/slurm_cpu.yaml`."""

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
    """How to submit runs, and the resources of each.

    Attributes:
        partition: SLURM partition (None: the cluster's default, likewise below).
        account: account to charge.
        qos: quality of service.
        constraint: required node features, such as `a100|h100`.
        time: minutes, or SLURM's forms `minutes`, `hours:minutes:seconds`, `days-hours`; quote it
            in a YAML file, because YAML reads a bare 4:00:00 as 14400, which is ten days here.
        memory: GB per node.
        cpus: cores per task.
        gpus: GPUs per node, as a number or with their type, such as `a100:2`.
        nodes: nodes per run.
        tasks_per_node: processes per node.
        setup: shell commands before a run, such as `module load cuda`.
        array_parallelism: maximum number of runs of an array at the same time.
        signal_before: seconds before the time limit at which a run saves and is requeued; must
            exceed the time of an outer step with its validation, or the job ends before saving.
        max_requeues: maximum number of times that a run is requeued.
        sbatch: further sbatch options by their long names.
        detach: return as soon as the jobs are submitted.

    Raises:
        BadValue: a value is out of range.
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
        require(self.minutes >= 1, "time", self.time, "1 minute or more")
        most = 60 * self.minutes
        within = 0 <= self.signal_before < most
        require(
            within, "signal_before", self.signal_before, f"0 to {most - 1}, within the time limit"
        )

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
        """The options as parameters of submitit."""
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
            # runs stop on USR1, which is not submitit's default
            "signal": f"USR1@{self.signal_before}",
            **({} if self.memory is None else {"mem": f"{math.ceil(1024 * self.memory)}M"}),
            **(self.sbatch or {}),
        }
        return {
            **{name: value for name, value in asked.items() if value is not None},
            "job_name": "mamlbench",
            "wckey": None,  # clusters that check wckeys refuse submitit's default
            "time": self.minutes,
            "nodes": self.nodes,
            "ntasks_per_node": self.tasks_per_node,
            "array_parallelism": self.array_parallelism,
            "setup": [
                "export SLURM_OPEN_MODE=append",  # srun appends to its log after a requeue
                f"export MAMLBENCH_MAX_REQUEUES={self.max_requeues}",
                *self.setup,
            ],
            "stderr_to_stdout": True,
            "additional_parameters": further,
        }


NAMES = tuple(entry.name for entry in fields(Submission))
"""The options under `hardware` that concern submission, not computation."""


def is_submitted(hardware: Mapping[str, Any]) -> bool:
    """Whether this `hardware` node has options for submission to SLURM."""
    return "detach" in hardware


def of_the_run(hardware: Mapping[str, Any]) -> dict[str, Any]:
    """The `hardware` node without the options that only concern submission."""
    left_out: Sequence[str] = NAMES if is_submitted(hardware) else ()
    return {name: value for name, value in hardware.items() if name not in left_out}
