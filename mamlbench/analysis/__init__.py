"""Studies other than runs: they measure the algorithms themselves."""

from mamlbench.analysis.taylor import TaylorStudy

__all__ = ["TaylorStudy"]
