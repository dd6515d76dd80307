"""Whether one series of rounds is slower than another that was measured at another time.

Rounds that follow each other are alike: of the latencies under ``reports/``, one series in ten has a lag-1
autocorrelation above 0.5. So not a round but a block of consecutive ones is an observation (the method of batch means;
Law and Kelton, Simulation Modeling and Analysis, 9.5): both series are cut into the same few blocks, and what is
bootstrapped are the differences of the logarithms of their levels, as :func:`~clip_bench.timing.paired.interval` does.

Measured coverage of its 95 % interval for two series of one truth (2000 simulations each, an AR(1) process of log times with
coefficient rho):

===================  =====  =====  =====  =====
rounds               rho 0  0.3    0.6    0.8
===================  =====  =====  =====  =====
64, normal           94.4   94.1   91.8   87.0
64, exponential      94.7   92.8   91.7   86.0
662, normal          95.2   94.8   94.5   94.6
662, exponential     94.5   94.3   94.5   94.6
===================  =====  =====  =====  =====

It knows nothing of what two windows differ by beyond that: of 111 pairs of runs under ``reports/`` whose truth is 1, 66
of these intervals exclude it. Only pairs whose truth is known tell how far windows stray.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_bench.timing import rounds
from clip_bench.timing.paired import LEAST, Interval, interval, resamples, smallest

FLOATS = NDArray[np.float64]

BLOCKS = 8  # 16 are narrower by a fifth, and cover 74 % of 64 rounds with rho = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The level of the rounds *before* and *after* in seconds, and the second over the first.

    A level is the geometric mean over blocks of their median (mean, where requests overlapped). ``ratio`` is None where
    a side has fewer than :data:`~clip_bench.timing.paired.LEAST` rounds; ``least`` is then None, too: the smallest
    effect, as a share, that these rounds had an 80 % chance to tell from none.
    """

    before_s: float
    after_s: float
    ratio: Interval | None
    least: float | None


def change(
    before_s: Sequence[float],
    after_s: Sequence[float],
    *,
    overlapping: bool = False,
    confidence: float = 0.95,
    seed: int = 0,
) -> Change:
    """Compare two series of rounds, in seconds and in the order of their calls.

    *overlapping* requests of a closed loop are told by their mean: by Little's law it is the number of requests under
    way over the throughput, so that of two like loops it tells the ratio of throughputs, too.

    Raises:
        UsageError: a side without rounds, or one with a round that is not a finite, positive time.
    """
    before, after = rounds.checked(before_s), rounds.checked(after_s)
    blocks = min(BLOCKS, before.size, after.size)
    if blocks < LEAST:
        one, two = (_levels(side, 1, overlapping=overlapping)[0] for side in (before, after))
        return Change(before_s=math.exp(one), after_s=math.exp(two), ratio=None, least=None)
    first, second = (_levels(side, blocks, overlapping=overlapping) for side in (before, after))
    differences = second - first
    found = interval(differences, resamples(blocks, seed), confidence)
    return Change(
        before_s=math.exp(first.mean()),
        after_s=math.exp(second.mean()),
        ratio=found,
        least=smallest(differences, found),
    )


def level(rounds_s: Sequence[float], *, overlapping: bool = False) -> float:
    """The level of one series, in seconds, as :class:`Change` has it where the other side has rounds enough.

    Raises:
        UsageError: no rounds, or one that is not a finite, positive time.
    """
    times = rounds.checked(rounds_s)
    blocks = min(BLOCKS, times.size)
    return math.exp(_levels(times, blocks if blocks >= LEAST else 1, overlapping=overlapping).mean())


def _levels(times: FLOATS, blocks: int, *, overlapping: bool) -> FLOATS:
    """The logarithm of the level of each of *blocks* stretches of consecutive rounds."""
    middle = np.mean if overlapping else np.median
    return np.log([float(middle(block)) for block in np.array_split(times, blocks)])
