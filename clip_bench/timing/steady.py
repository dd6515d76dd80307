"""Where a series of times changes for good, and from which call on it stays the same.

Change-points are found by PELT (Killick, Fearnhead and Eckley 2012, https://doi.org/10.1080/01621459.2012.737745, by
``ruptures``) over the ranks of the values, scaled to unit variance. If calls are exchangeable, as in a steady state,
their ranks are a random permutation whatever the distribution, so one penalty holds for a normal, a heavy tail and two
modes alike, and no outlier counts for more than its rank. Neighbouring levels that are equivalent are then merged, and
the last one is the steady state if it is long enough, as Barrett, Bolz-Tereick, Killick, Mount and Tratt, "Virtual Machine
Warmup Blows Hot and Cold" (OOPSLA 2017, https://doi.org/10.1145/3133876) classify it. Calls that depend on each other
(a device that stays for a while in each of two modes) have change-points, and are told as such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clip_bench.timing import rounds

FLOATS = NDArray[np.float64]

# A split must explain PENALTY + log(n) of the ranks' variance: of 4000 random permutations, 0.1 to 0.5 % of those of
# 20 to 1000 values are split at all (0.10 % of 20, 0.30 % of 64, 0.53 % of 256, 0.35 % of 1000).
PENALTY = 9.0
SHORTEST = 5  # values that make a level: fewer are outliers, or calls of the onset
SAME = 0.02  # medians closer than this are one level: a share that no table here would show
LEAST = 10  # calls, below which nothing can be said of a steady state
TAIL = 4  # the steady part is at least one in so many calls: Barrett et al. ask 500 of 2000
ONSET = 10  # calls at most that are too few to show in ranks
SLOWEST = (97, 99)  # percentiles of the calls after the onset: two or more slow calls exceed the first, one the second
ALONE = 1.5  # a single slow call stands so many times as far from the median, in log time, as the second of SLOWEST
RESOLUTION = 2000  # values at most that PELT takes; it is quadratic where nothing changes


def steady(calls_s: Sequence[float]) -> int | None:
    """After how many calls the times stay the same: 0 from the first on; None if not within these calls.

    None also where fewer than :data:`LEAST` calls are given, or fewer than one in :data:`TAIL` would be steady. A slow
    start that is too short for ranks (one call of a compiler among a hundred) is told by :func:`_onset`. Above
    :data:`RESOLUTION` calls, a later change is placed to within calls / RESOLUTION.

    Raises:
        UsageError: no calls, or one that is not a finite, positive time.
    """
    times = rounds.checked(calls_s)
    if times.size < LEAST:
        return None
    edges = shifts(times.tolist())
    began = edges[-1] if edges else _onset(times)
    return began if (times.size - began) * TAIL >= times.size else None


def shifts(values: Sequence[float]) -> tuple[int, ...]:
    """The indices where *values* change for good: each begins a level that fills most of :data:`SHORTEST` values.

    Neighbouring levels differ by more than :data:`SAME`. Values are positive: times, throughputs, sizes.

    Raises:
        UsageError: no values, or one that is not finite and positive.
    """
    series = rounds.checked(values)
    width = math.ceil(series.size / RESOLUTION)
    edges = [index * width for index in _split(_medians(series, width))]
    while edges:
        levels = _levels(series, edges)
        least = int(np.argmin(np.abs(np.diff(np.log(levels)))))
        if not _alike(levels[least], levels[least + 1]):
            break
        del edges[least]
    return _placed(series, edges)


def _split(series: FLOATS, first: int = 0) -> list[int]:
    """PELT's change-points in the ranks of *series*, and in each level's own ranks, counted from *first*.

    Ranks of the whole are bounded: beside a large step they hide a small one, and a slope is three steps.
    """
    edges = _pelt(series)
    if not edges:
        return []
    inner = [_split(part, first + begin) for begin, part in zip([0, *edges], np.split(series, edges), strict=True)]
    return sorted([first + edge for edge in edges] + [edge for found in inner for edge in found])


def _pelt(series: FLOATS) -> list[int]:
    """PELT's change-points in the ranks of *series*."""
    from ruptures import KernelCPD
    from scipy.stats import rankdata

    ranks = rankdata(series)
    if series.size < 2 * SHORTEST or not np.ptp(ranks):
        return []
    signal = ((ranks - ranks.mean()) / ranks.std()).reshape(-1, 1)
    search = KernelCPD(kernel="linear", min_size=SHORTEST).fit(signal)
    return [int(edge) for edge in search.predict(pen=PENALTY + math.log(series.size))[:-1]]


def _levels(series: FLOATS, edges: Sequence[int]) -> list[float]:
    """The median before, between and after *edges*."""
    return [float(np.median(part)) for part in np.split(series, edges)]


def _placed(series: FLOATS, edges: Sequence[int]) -> tuple[int, ...]:
    """Each edge where its two levels, by themselves, divide the values best: in least absolute deviations of log values.

    Ranks find that there is an edge, but a fast value in a slow level moves it by some places; this is the refinement of
    Bai, "Estimating multiple breaks one at a time" (1997).
    """
    bounds, levels, logs = [0, *edges, series.size], np.log(_levels(series, edges)), np.log(series)
    placed = list(edges)
    for index in range(len(edges)):
        first, end = bounds[index], bounds[index + 2]
        gain = np.abs(logs[first:end] - levels[index + 1]) - np.abs(logs[first:end] - levels[index])
        placed[index] = first + 1 + int(np.argmax(np.cumsum(gain)[:-1]))
    return tuple(sorted(set(placed)))


def _onset(times: FLOATS) -> int:
    """How many of the first calls are slower than chance lets them be, at most :data:`ONSET` and a quarter of all.

    Two calls in a row among the slowest 3 % are a chance of 1 in 1000 in any distribution. One alone is not rare, so it
    must also stand far out.
    """
    most = min(ONSET, times.size // TAIL)
    middle = float(np.median(times[most:]))
    several, alone = (
        max(float(bound), middle * (1 + SAME)) for bound in np.percentile(times[most:], SLOWEST, method="higher")
    )
    slow = int(np.argmin(np.append(times[:most] > several, False)))
    if slow == 1 and math.log(times[0] / middle) <= ALONE * math.log(alone / middle):
        return 0
    return slow


def _medians(series: FLOATS, width: int) -> FLOATS:
    """The medians of blocks of *width* values; an incomplete last block is left out."""
    if width == 1:
        return series
    whole = series.size // width * width
    return np.asarray(np.median(series[:whole].reshape(-1, width), axis=1), np.float64)


def _alike(one: float, two: float) -> bool:
    """Whether two levels differ by no more than :data:`SAME`."""
    return abs(math.log(one / two)) <= math.log1p(SAME)
