"""Rounds as numbers: seconds, in the order of their calls, finite and positive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UsageError


def checked(rounds_s: Sequence[float]) -> NDArray[np.float64]:
    """*rounds_s* as an array.

    Raises:
        UsageError: there are none, or one is not a finite, positive time; the message names the first.
    """
    times = np.asarray(rounds_s, np.float64)
    if times.ndim != 1 or not times.size:
        msg = "there are no rounds to judge: give at least one time, in seconds"
        raise UsageError(msg)
    bad = np.flatnonzero(~(np.isfinite(times) & (times > 0)))
    if bad.size:
        msg = f"round {bad[0]} took {times[bad[0]]} s: measure again, a time is a finite number of seconds above 0"
        raise UsageError(msg)
    return times
