"""Whether one cell is faster than another: both in one window, in interleaved blocks, beside a pair known to be equal.

A machine that drifts, throttles or is shared moves two runs apart by more than most speed-ups. Here the arms take turns
in a random order and then in its mirror (ABBA), so that a drift that is linear within a group cancels, and the reference
cell runs against itself as well: what that null arm shows is the error of the comparison, not an estimate of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UsageError
from clip_bench.record import Paired
from clip_bench.timing import rounds
from clip_bench.timing.latency import Arrays, Session

FLOATS = NDArray[np.float64]

LEAST = 4  # groups: with fewer, no interval at 95 % can be had from the differences alone
QUARTILE = 0.25
RESAMPLES = 1999
RELABELINGS = 512  # of the null arm at most: the rate of false positives is known to 0.2 %
POWER = 0.8
FARTHEST = 300.0  # of log ratios: what lies beyond is no figure, and its exponential would leave the floats
CACHED = 1.10  # MLPerf's audit TEST04 fails a device that is over 10 % faster on one input over and over


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A session and inputs for it that it never saw, as many as its blocks take; drawn outside the clock."""

    session: Session
    unseen: Iterator[Arrays]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A ratio of times, and where it lies at the confidence asked for."""

    value: float
    low: float
    high: float

    @property
    def excludes_one(self) -> bool:
        """Whether the two times surely differ."""
        return not self.low <= 1 <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """What the blocks of :class:`~clip_bench.record.Paired` say.

    ``speedup`` is the reference's time over this cell's, ``null`` the reference's over its own once more, whose truth is
    1. ``false_positives`` is how often the interval of the null arm excludes 1 when the two names of each group are
    swapped or not, over all such relabelings (at most :data:`RELABELINGS` of them); 1 - confidence is what it should be.
    ``smallest_percent`` is the least speed-up, in percent, that this run had an 80 % chance to see. ``caching`` is this
    cell's time on unseen inputs over its time on a repeated one; it ``caches`` where that is surely above
    :data:`CACHED`.
    """

    groups: int
    confidence: float
    speedup: Interval
    null: Interval
    false_positives: float
    smallest_percent: float
    caching: Interval
    caches: bool


def measure(
    name: str,
    reference: Side,
    own: Side,
    repeated: Arrays,
    *,
    groups: int,
    counted: int,
    uncounted: int,
    seed: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Paired:
    """Time four arms in interleaved blocks: the reference cell *name*, this cell, the reference again, and *repeated*.

    Each of *groups* is one random order of the arms and then its mirror. A block is *uncounted* calls and then *counted*
    timed ones, all on arrays that were drawn before the block, and its value is their lower quartile in seconds of
    *clock*: company only ever adds to a time. Beside a process that kept one of two cores, for shapes_tiny on OpenVINO
    against PyTorch, four ratios of medians lay between 3.3 and 4.2 and four of lower quartiles between 1.98 and 2.10;
    alone both lay between 2.38 and 2.49.

    Raises:
        UsageError: fewer than :data:`LEAST` groups, no counted call, or a side that ran out of unseen inputs.
    """
    if groups < LEAST or counted < 1 or uncounted < 0:
        msg = f"{groups} groups of {counted} counted calls compare nothing: take at least {LEAST} groups and 1 call"
        raise UsageError(msg)
    calls = counted + uncounted
    arms: dict[str, tuple[Session, Callable[[], list[Arrays]]]] = {
        "reference_s": (reference.session, lambda: _drawn(reference.unseen, calls)),
        "own_s": (own.session, lambda: _drawn(own.unseen, calls)),
        "again_s": (reference.session, lambda: _drawn(reference.unseen, calls)),
        "repeated_s": (own.session, lambda: [repeated] * calls),
    }
    blocks: dict[str, list[float]] = {arm: [] for arm in arms}
    generator = np.random.default_rng(seed)
    for _ in range(groups):
        order = [str(arm) for arm in generator.permutation(list(arms))]
        for arm in order + order[::-1]:
            session, draw = arms[arm]
            blocks[arm].append(_block(session, draw(), uncounted, clock))
    told = {arm: tuple(values) for arm, values in blocks.items()}
    return Paired(reference=name, counted=counted, uncounted=uncounted, **told)


def ratio(paired: Paired, *, confidence: float = 0.95, seed: int = 0) -> Ratio:
    """The speed-up of *paired*, what its null arm says of it, and whether repeated inputs are cached.

    A group is one observation: the logarithm of the ratio, the mean of its two mirrored blocks. The smallest effect is
    Bloom's minimum detectable effect (Evaluation Review 19, 1995, https://doi.org/10.1177/0193841X9501900504): half of the
    null arm's interval and t[power] of its standard errors.

    Raises:
        UsageError: fewer than :data:`LEAST` groups, arms of unlike or odd lengths, times that are none, or a
            *confidence* outside (0, 1).
    """
    reference, own, again, repeated = _groups(paired, confidence)
    null, counts = reference - again, resamples(reference.size, seed)
    known, caching = interval(null, counts, confidence), interval(own - repeated, counts, confidence)
    return Ratio(
        groups=reference.size,
        confidence=confidence,
        speedup=interval(reference - own, counts, confidence),
        null=known,
        false_positives=_false_positives(null, counts, confidence, seed),
        smallest_percent=100 * smallest(null, known),
        caching=caching,
        caches=caching.low > CACHED,
    )


def interval(differences: FLOATS, counts: FLOATS, confidence: float) -> Interval:
    """The ratio exp(mean of *differences*) with its studentized bootstrap interval (bootstrap-t).

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), 12.5. *counts* are resamples, as shares of each group.
    Measured coverage of 95 % intervals at 8, 12 and 16 groups (1000 simulations, 300 of BCa): of normal differences this
    one 95, 95, 95, BCa 92, 90, 94, the percentile bootstrap 88, 92, 92; of exponential ones 95, 94, 96 against 84, 88,
    90 and 84, 88, 87; of Student's t with 3 degrees of freedom 94, 92, 92 against 81, 87, 86 and 88, 89, 91. Below 8
    groups it covers as well and is wide.
    """
    mean = float(differences.mean())
    ends = _ends(differences[:, None], counts, confidence)
    low, high = (min(max(float(end[0]), -FARTHEST), FARTHEST) for end in ends)
    return Interval(value=math.exp(mean), low=math.exp(low), high=math.exp(high))


def _ends(columns: FLOATS, counts: FLOATS, confidence: float) -> tuple[FLOATS, FLOATS]:
    """The ends of the bootstrap-t interval of the mean of each column of *columns* (groups by columns)."""
    mean, spread = columns.mean(axis=0), columns.std(axis=0)
    centred = columns - mean
    moved = counts @ centred
    variance = counts @ centred**2 - moved**2
    some = variance > 1e-9 * np.maximum(spread**2, np.finfo(float).tiny)  # a resample of one group alone says nothing
    with np.errstate(invalid="ignore", divide="ignore"):
        pivots = np.where(some, moved / np.sqrt(variance), np.nan)
    pivots[:, ~some.any(axis=0)] = 0  # all groups agree: no width
    quantile = np.quantile if some.all() else np.nanquantile  # the second is slow
    below, above = quantile(pivots, ((1 - confidence) / 2, (1 + confidence) / 2), axis=0)
    return mean - above * spread, mean - below * spread


def resamples(groups: int, seed: int) -> FLOATS:
    """For each resample with replacement, the share that each group has in it."""
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    return np.asarray(drawn / groups, np.float64)


def _false_positives(null: FLOATS, counts: FLOATS, confidence: float, seed: int) -> float:
    """How often the interval excludes 1 over relabelings of *null*; one and its opposite exclude it together."""
    free = null.size - 1
    if 2**free <= RELABELINGS:
        swaps = (np.arange(2**free)[None, :] >> np.arange(free)[:, None]) & 1
    else:
        swaps = np.random.default_rng(seed).integers(0, 2, (free, RELABELINGS))
    signs = np.vstack([np.ones((1, swaps.shape[1])), 1 - 2 * swaps])
    low, high = _ends(null[:, None] * signs, counts, confidence)
    return float(np.mean((low > 0) | (high < 0)))


def smallest(null: FLOATS, known: Interval) -> float:
    """The least speed-up, as a share, that an interval as wide as *known* excludes 1 for in :data:`POWER` of such runs."""
    from scipy.stats import t

    free = null.size - 1
    error = float(null.std(ddof=1)) / math.sqrt(null.size)
    effect = math.log(known.high / known.low) / 2 + float(t.ppf(POWER, free)) * error
    return math.expm1(
        min(effect * (1 + 1 / (4 * free)), FARTHEST)
    )  # so much too small is the deviation of few: c4 of control charts


def _groups(paired: Paired, confidence: float) -> list[FLOATS]:
    """The log times of the four arms, one per group: the mean of its two mirrored blocks."""
    arms = [paired.reference_s, paired.own_s, paired.again_s, paired.repeated_s]
    if len({len(arm) for arm in arms}) != 1 or len(arms[0]) % 2 or len(arms[0]) < 2 * LEAST:
        msg = f"blocks of {[len(arm) for arm in arms]} in four arms: measure again with at least {LEAST} groups of two each"
        raise UsageError(msg)
    if not 0 < confidence < 1:
        msg = f"no confidence {confidence}: give one between 0 and 1, such as 0.95"
        raise UsageError(msg)
    return [np.log(rounds.checked(arm)).reshape(-1, 2).mean(axis=1) for arm in arms]


def _block(session: Session, feeds: list[Arrays], uncounted: int, clock: Callable[[], float]) -> float:
    """The lower quartile of the seconds of a call, over all *feeds* but the *uncounted* first."""
    times = []
    for feed in feeds:
        began = clock()
        session.run(feed)
        times.append(clock() - began)
    return float(np.quantile(times[uncounted:], QUARTILE))


def _drawn(unseen: Iterator[Arrays], calls: int) -> list[Arrays]:
    """The next *calls* inputs."""
    feeds = list(islice(unseen, calls))
    if len(feeds) < calls:
        msg = f"the unseen inputs ran out: a block takes {calls} new ones; give an iterator that makes as many as are asked"
        raise UsageError(msg)
    return feeds
