"""Percentiles of the latency with a proof: what a share of all calls stays under, at a stated confidence.

The rule is MLPerf's "early stopping" (loadgen/early_stopping.cc and EarlyStopping in loadgen/results.cc of
https://github.com/mlcommons/inference, its tolerance d = 0). Among n calls of a cell whose percentile p is as long as a
bound, the number above that bound is binomial. A bound with t calls above or at it is proven at confidence c where

    P[Binomial(n, 1 - p) <= t] < 1 - c

and the estimate is the t-th highest time for the largest such t, which must be at least 1. LoadGen asks for the tail up
to t, an order-statistic bound up to t - 1 alone (David and Nagaraja, Order Statistics, 2003, 7.1): its estimate is the
safer by one rank, so that P90 takes 64 calls and not 44. Nothing is assumed of the distribution; that calls are
independent is.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from clip_bench.errors import UsageError
from clip_bench.timing import rounds

CONFIDENCE = 0.99  # LoadGen's
SHOWN = (50.0, 90.0, 95.0, 99.0)  # those of vendors' profilers, unless others are asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The time in seconds that *percentile* percent of all calls stay under; None where *samples* prove none.

    ``needed`` is the least number of calls that prove one.
    """

    percentile: float
    samples: int
    needed: int
    value_s: float | None


def parse(text: str) -> tuple[float, ...]:
    """``50,90,99.9`` as numbers, each once; brackets around them are taken off.

    Raises:
        UsageError: one is no number between 0 and 100.
    """
    try:
        found = tuple(dict.fromkeys(float(part) for part in text.strip("[] ").split(",")))
    except ValueError:
        found = ()
    if not found or not all(0 < each < 100 for each in found):  # noqa: PLR2004  percent
        msg = f"--percentiles {text}: numbers between 0 and 100, such as 50,90,95,99"
        raise UsageError(msg)
    return found


@cache
def needed(percentile: float, confidence: float = CONFIDENCE) -> int:
    """How many calls a bound of *percentile* (in percent) takes at least: LoadGen's h(1) + 1.

    P[Binomial(n, 1 - p) <= 1] falls as n grows; the least n is sought where it is no more than 1 - confidence.

    Raises:
        UsageError: *percentile* is not between 0 and 100, or *confidence* not between 0 and 1.
    """
    above = _over(percentile, confidence)
    below = 1 - above

    def proven(calls: int) -> bool:
        return below ** (calls - 1) * (below + calls * above) <= 1 - confidence

    return bisect_left(range(sys.maxsize), True, key=proven)  # noqa: FBT003  what is sought


def bound(rounds_s: Sequence[float], percentile: float, confidence: float = CONFIDENCE) -> Bound:
    """The proven bound of *percentile* (in percent) over *rounds_s*, as LoadGen reports it.

    Raises:
        UsageError: no rounds, a round that is not a finite, positive time, or a percentile or confidence out of range.
    """
    times = rounds.checked(rounds_s)
    least = needed(percentile, confidence)
    if times.size < least:
        return Bound(percentile=percentile, samples=times.size, needed=least, value_s=None)
    place = times.size - discarded(times.size, percentile, confidence)
    value = float(np.partition(times, place)[place])
    return Bound(percentile=percentile, samples=times.size, needed=least, value_s=value)


def discarded(samples: int, percentile: float, confidence: float = CONFIDENCE) -> int:
    """The largest t with P[Binomial(samples, 1 - p) <= t] < 1 - confidence; -1 or 0 where there is none to use.

    It is one less than the binomial's quantile, the smallest t of which that is not so.
    """
    from scipy.stats import binom

    return int(binom.ppf(1 - confidence, samples, _over(percentile, confidence))) - 1


def _over(percentile: float, confidence: float) -> float:
    """The share of calls above *percentile*."""
    if not 0 < percentile < 100 or not 0 < confidence < 1:  # noqa: PLR2004  percent
        msg = f"no percentile {percentile} at a confidence of {confidence}: give one between 0 and 100, at one between 0 and 1"
        raise UsageError(msg)
    return 1 - percentile / 100
