"""The job of one run of a sweep: it runs a command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from mamlbench.slurm.preemption import SIGNALS, requeue_and_end, requeue_when_told


@dataclass(frozen=True)
class Job:
    """One run; submitit calls it in the SLURM job.

    Attributes:
        arguments: arguments of the command `mamlbench`.
    """

    arguments: tuple[str, ...]

    def __call__(self) -> None:
        """Run the command; if a signal stopped it, requeue the job.

        Raises:
            SystemExit: the run failed; the exit code becomes the job's.
        """
        requeue_when_told()  # submitit has replaced the signal handlers by its own
        from mamlbench.cli.main import main

        sys.argv = ["mamlbench", *self.arguments]
        print(*sys.argv, flush=True)
        try:
            main()
        except SystemExit as end:
            told = [number for number in SIGNALS if end.code == 128 + number]
            if told:
                requeue_and_end(told[0])
            if end.code:
                raise
