"""What the rounds of one cell say, in seconds and samples per second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clip_bench.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Latency of one call in seconds, and throughput in samples per second, all from the same rounds.

    Percentiles are linear, as the Olive CLIP examples publish P90 (numpy's default). ``throughput_avg`` is
    batch / ``mean_s``, ``throughput_max`` batch / ``min_s`` and ``throughput_min`` batch / ``max_s``, so that the
    columns of a table can be checked against each other.
    """

    rounds: int
    mean_s: float
    p50_s: float
    p90_s: float
    min_s: float
    max_s: float
    throughput_avg: float
    throughput_max: float
    throughput_min: float


def summary(rounds_s: Sequence[float], batch: int) -> Summary:
    """Sum up the seconds of each round, with *batch* samples per call.

    Raises:
        UsageError: no rounds, a batch below one, or a round that is not a finite, positive time.
    """
    if not rounds_s or batch < 1 or not all(math.isfinite(second) and second > 0 for second in rounds_s):
        msg = f"a timing needs a batch of at least 1 and positive, finite rounds; this one has {len(rounds_s)} rounds, "
        msg += f"the shortest {min(rounds_s, default=math.nan)} s, and a batch of {batch}: measure the cell again"
        raise UsageError(msg)
    low, high = min(rounds_s), max(rounds_s)
    mean = min(max(math.fsum(rounds_s) / len(rounds_s), low), high)  # equal rounds: the quotient may leave their range
    p50, p90 = (float(value) for value in np.percentile(rounds_s, (50, 90)))
    return Summary(
        rounds=len(rounds_s),
        mean_s=mean,
        p50_s=p50,
        p90_s=p90,
        min_s=low,
        max_s=high,
        throughput_avg=batch / mean,
        throughput_max=batch / low,
        throughput_min=batch / high,
    )
