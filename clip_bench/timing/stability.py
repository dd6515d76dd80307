"""Whether the rounds of a cell are steady enough for its figures, and if not, why.

After the checks of pyperf (``format_checks`` in https://github.com/psf/pyperf/blob/main/pyperf/_cli.py):

* a standard deviation of 10 % of the mean or more: taken, over the rounds that are no outliers;
* a minimum or maximum 50 % off the mean: too hard, as one round in 64 on a shared machine does that and moves no median
  and no P90. Such a round is an outlier here, by its distance from the median, and their share is judged;
* too few values for a mean within 1 %: replaced by the number of rounds that a proven P90 takes, which is what is told;
* a raw value below 1 ms: left out, as pyperf loops to exceed a coarse clock, and a round here is one call.

Added: levels that differ within the run, two modes, and what else the machine did. The load average, the clock's range
and the waits for a core are not judged: our own threads make the first and the last, and idle cores lower the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_bench.record import Conditions
from clip_bench.timing import percentiles, rounds
from clip_bench.timing.steady import shifts

FLOATS = NDArray[np.float64]

SPREAD = 0.10  # of the mean: pyperf's
FAR = 0.50  # from the median: an outlier, by pyperf's bound for a minimum or maximum
OUTLIERS = 0.05  # of the rounds: half of what is above P90, so that P90 is no outlier itself
PROVEN = 90  # the percentile that the tables show
DRIFT = 0.05  # between two levels of one run; pyperf marks values that are 5 % off
MODES = 0.80  # of log times' variance, between two halves: 2 / pi if normal, 3 / 4 if uniform, 1 if of two values
MODE = 0.10  # of the rounds at least in each mode: fewer are outliers, or a tail
STEAL = 0.02  # of processor time: the machine itself was away, and in bursts, so that P90 grows by more
OTHERS = 0.5  # cores: one of our threads waited half of the time, and a parallel step waits for its last thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Whether a cell's rounds are ``stable``, and if not the ``reasons``, each short enough to stand beside a figure."""

    stable: bool
    reasons: tuple[str, ...]


def verdict(rounds_s: Sequence[float], conditions: Conditions | None = None) -> Stability:
    """Judge *rounds_s*, in the order of their calls, and what else the machine did meanwhile.

    What the system did not tell (None) is not held against a cell.

    Raises:
        UsageError: no rounds, or one that is not a finite, positive time.
    """
    times = rounds.checked(rounds_s)
    reasons = (*_shape(times), *_course(times), *_surroundings(conditions))
    return Stability(stable=not reasons, reasons=reasons)


def _shape(times: FLOATS) -> list[str]:
    """What the rounds say in any order."""
    reasons = []
    if times.size < percentiles.needed(PROVEN):
        reasons.append(f"only {times.size} rounds" if times.size > 1 else "only 1 round")
    middle = np.percentile(times, 50, method="lower")  # one of the rounds, so that never all of them are far
    far = np.abs(times / middle - 1) >= FAR
    near = times[~far]
    if (spread := float(near.std() / near.mean())) >= SPREAD:
        reasons.append(f"spread {100 * spread:.0f} %")
    if (share := float(far.mean())) > OUTLIERS:
        reasons.append(f"outliers {100 * share:.0f} %")
    return reasons


def _course(times: FLOATS) -> list[str]:
    """What their order adds: a drift; or two modes, where it is none."""
    levels = [float(np.median(part)) for part in np.split(times, shifts(times.tolist()))]
    drift = max((level / levels[0] - 1 for level in levels), key=abs)
    if abs(drift) >= DRIFT:
        return [f"drift {100 * drift:+.0f} % over the run"]
    return ["two modes"] if _two_modes(times) else []


def _two_modes(times: FLOATS) -> bool:
    """Whether one cut leaves almost no variance within its halves, which hold enough rounds and lie apart.

    Source: Otsu, "A threshold selection method from gray-level histograms" (1979), its measure of separability.
    """
    logs = np.sort(np.log(times))
    count = np.arange(1, logs.size)
    sums = np.cumsum(logs)
    below, above = sums[:-1] / count, (sums[-1] - sums[:-1]) / (logs.size - count)
    between = count * (logs.size - count) / logs.size**2 * (above - below) ** 2
    kept = np.minimum(count, logs.size - count) >= MODE * logs.size
    if not kept.any():
        return False
    best = int(np.argmax(np.where(kept, between, -1)))
    return bool(between[best] >= MODES * logs.var() and above[best] - below[best] >= np.log1p(DRIFT))


def _surroundings(conditions: Conditions | None) -> list[str]:
    """What the machine did for others, and to itself."""
    if conditions is None:
        return []
    reasons = []
    others, steal = conditions.others or 0.0, conditions.steal or 0.0
    if others >= OTHERS:
        reasons.append(f"others took {others:.1f} cores")
    if steal >= STEAL:
        reasons.append(f"steal {100 * steal:.0f} %")
    if conditions.throttled:
        reasons.append("throttled once" if conditions.throttled == 1 else f"throttled {conditions.throttled} times")
    return reasons
