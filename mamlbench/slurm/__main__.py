"""`python -m mamlbench.slurm ... -m MODULE ARGUMENTS`: how a job starts submitit's module.

First of all it makes sure that a signal puts the job back into the queue: importing torch takes
seconds, in which Python by itself would die of one.
"""

from __future__ import annotations

import os
import runpy
import sys

from mamlbench.slurm.preemption import requeue_when_told

if __name__ == "__main__":
    requeue_when_told()
    cores = os.environ.get("SLURM_CPUS_PER_TASK")
    if cores is not None:
        os.environ.setdefault("OMP_NUM_THREADS", cores)
    module = sys.argv.index("-m") + 1
    del sys.argv[:module]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
