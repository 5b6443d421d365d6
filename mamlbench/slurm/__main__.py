"""`python -m mamlbench.slurm ... -m MODULE ARGUMENTS`: starts submitit's module in a job.

It first installs signal handlers that requeue the job, because importing torch takes seconds, and
a signal during that time would otherwise kill Python.
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
