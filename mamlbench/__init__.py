"""Train, evaluate and compare model-agnostic meta-learning algorithms."""

__version__ = "0.1.0"
