"""A slow learner, which SLURM tests have time to interrupt."""

import os
import time

from mamlbench.algorithms import MAML


class PacedMAML(MAML):
    """MAML that waits before each outer step, only in a SLURM job that was not requeued yet."""

    def meta_step(self, tasks):
        if "SLURM_JOB_ID" in os.environ and "SLURM_RESTART_COUNT" not in os.environ:
            time.sleep(0.25)
        return super().meta_step(tasks)
