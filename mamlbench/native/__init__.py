"""C++ kernels where torch has no fast operation, compiled on the machine that runs them.

They need a C++ compiler (`c++`, or the value of CXX) with OpenMP; without one, torch's operations
do the same more slowly. Compiling takes a few seconds, once per kind of processor.
"""

import mamlbench.native.batch_norm
import mamlbench.native.convolution  # noqa: F401  both define operations of torch
from mamlbench.native.build import why_not
from mamlbench.native.operations import available, on_cpu

__all__ = ["available", "on_cpu", "why_not"]
