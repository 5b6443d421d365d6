"""Expected calibration error: how far confidence is from accuracy, over all tasks' queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from mamlbench.estimate import Estimate

_RESAMPLES = 1000
_RESAMPLES_AT_A_TIME = 50  # bounds memory with 10,000 tasks


@dataclass(frozen=True)
class Reliability:
    """The predictions of a test, binned by confidence.

    A task has too few queries for a calibration error of its own (with one query in a bin, the gap
    is never small), so the queries of all tasks are pooled first.

    Attributes:
        bins: [R, T, B, 3], for each task's queries at each of R scores (as in `Scores`): how many
            are in the bin, the sum of their confidences, and the number of correct ones.
    """

    bins: np.ndarray

    def errors(self) -> list[Estimate]:
        """The expected calibration error at each score, as a fraction.

        The mean over all queries of |accuracy − confidence| of the query's bin (arXiv 1706.04599,
        eq. 3). The interval is normal, with the standard deviation over 1,000 bootstrap samples of
        the tasks, because queries of one task are not independent. It does not cover the error's
        upward bias, which grows as queries get fewer. The samples are drawn with a fixed seed.
        """
        steps, tasks, count, _ = self.bins.shape
        queries = self.bins[0, :, :, 0].sum(axis=-1, dtype=np.float64)
        gaps = self.bins[..., 2].astype(np.float64) - self.bins[..., 1]
        gaps = gaps.transpose(1, 0, 2).reshape(tasks, -1)

        def error(times: np.ndarray) -> np.ndarray:
            """The error at each score, [n, R], if each task counts `times`, [n, T]."""
            pooled = np.abs(times @ gaps).reshape(-1, steps, count).sum(axis=-1)
            return pooled / (times @ queries)[:, None]

        random, each = np.random.default_rng(0), np.full(tasks, 1 / tasks)
        samples = [
            error(random.multinomial(tasks, each, size=_RESAMPLES_AT_A_TIME).astype(np.float64))
            for _ in range(_RESAMPLES // _RESAMPLES_AT_A_TIME)
        ]
        [found] = error(np.ones((1, tasks)))
        spread = np.concatenate(samples).std(axis=0, ddof=1)
        halves = ndtri(0.975) * (spread if tasks > 1 else np.full_like(spread, np.nan))
        return [Estimate(float(e), float(h), tasks) for e, h in zip(found, halves, strict=True)]

    def diagram(self) -> dict[str, list[float | None]]:
        """The bins after the last inner step, over all tasks, for `summary.json`.

        Per bin, the number of `queries`, their mean `confidence` and `accuracy` (None if empty).
        """
        counts, confidence, right = self.bins[-1].sum(axis=0, dtype=np.float64).T
        return {
            "queries": counts.tolist(),
            "confidence": _ratios(confidence, counts),
            "accuracy": _ratios(right, counts),
        }


def _ratios(sums: np.ndarray, counts: np.ndarray) -> list[float | None]:
    return [s / n if n else None for s, n in zip(sums.tolist(), counts.tolist(), strict=True)]
