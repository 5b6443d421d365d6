"""A learner for tests of SLURM that leaves time to interrupt it."""

import os
import time

from mamlbench.algorithms import MAML


class PacedMAML(MAML):
    """MAML that waits before each outer step in the first turn of a job, and there alone."""

    def meta_step(self, tasks):
        if "SLURM_JOB_ID" in os.environ and "SLURM_RESTART_COUNT" not in os.environ:
            time.sleep(0.25)
        return super().meta_step(tasks)
