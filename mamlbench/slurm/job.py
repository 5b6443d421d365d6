"""What each job of a sweep does: the command line of one run."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from mamlbench.slurm.preemption import SIGNALS, requeue_and_end, requeue_when_told


@dataclass(frozen=True)
class Job:
    """One run, called by submitit in its job.

    Attributes:
        arguments: of the command `mamlbench`.
    """

    arguments: tuple[str, ...]

    def __call__(self) -> None:
        """Run it; where it was told to stop, put the job back into the queue.

        Raises:
            SystemExit: the run failed, with the exit code that the job shall have.
        """
        requeue_when_told()  # submitit has put its own in their place
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
