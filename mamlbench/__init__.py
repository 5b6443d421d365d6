"""Train, evaluate and compare model-agnostic meta-learning algorithms."""

import os

# Otherwise MKL may change its order of summation between calls on a busy machine, and a resumed
# run would differ in the last bit. MKL reads this variable at its first matrix product.
os.environ.setdefault("MKL_CBWR", "AUTO")

__version__ = "0.1.0"
