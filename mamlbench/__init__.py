"""Train, evaluate and compare model-agnostic meta-learning algorithms."""

import os

# MKL may otherwise sum in another order from one call to the next on a busy machine, and a resumed
# run would then differ in the last bit; it reads this at its first product
os.environ.setdefault("MKL_CBWR", "AUTO")

__version__ = "0.1.0"
