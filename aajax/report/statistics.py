"""Aggregates over few seeds, with intervals.

See "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(https://arxiv.org/abs/2108.13264).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from aajax.errors import InputError
from aajax.report.tables import known

RESAMPLES = 9999


class Aggregate(NamedTuple):
    """An aggregate over seeds, with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite(self.low):
            return f"{self.value:.2f}"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def interquartile_mean(strata: Sequence[Sequence[float | None]]) -> Aggregate:
    """The interquartile mean of all numbers, with a stratified bootstrap interval.

    The mean of the middle half: a quarter of the numbers, rounded down, is left out at
    either end. Seeds are drawn anew, with replacement, within each stratum; the
    interval is between the percentiles 2.5 and 97.5 of the resamples. It is too narrow
    for fewer than about five seeds.

    Args:
      strata: numbers of seeds, of each task or setting that is aggregated over; None
        and NaN, of those that diverged, are left out.

    Raises:
      InputError: if there is no number.
    """
    found = [x for x in map(known, strata) if x.size]
    if not found:
        raise InputError(f"strata is {list(strata)}: at least one number is needed")

    def middle(*each: np.ndarray, axis: int = -1) -> np.ndarray:
        return stats.trim_mean(np.concatenate(each, axis), 0.25, axis)

    value = float(middle(*found))
    if min(x.size for x in found) < 2 or all(np.ptp(x) == 0 for x in found):
        spread = value if min(x.size for x in found) > 1 else np.nan
        return Aggregate(value, spread, spread)
    interval = stats.bootstrap(
        found, middle, n_resamples=RESAMPLES, method="percentile", vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Aggregate(value, float(interval.low), float(interval.high))
