"""A cell's speed-up over PyTorch FP32 on the CPU as a figure: of interleaved blocks where they were run, or two windows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any

from clip_bench.record import Paired
from clip_bench.report.figures import ABSENT, fixed, times
from clip_bench.timing.paired import Interval, Ratio, ratio


@cache
def of(paired: Paired) -> Ratio:
    """What the blocks of *paired* say; they are resampled once."""
    return ratio(paired)


def told(row: Mapping[Hashable, Any]) -> str:
    """With its 95 % interval where the cell was paired, else as that of two windows; of the reference itself, 1."""
    found: Ratio | None = row["ratio"]
    if found is not None:
        return f"{times(found.speedup.value)} ({span(found.speedup)}), paired"
    text = times(row["speedup"])
    return text if text == ABSENT or row["speedup"] == 1 else f"{text}, two windows"


def span(interval: Interval) -> str:
    """From where to where."""
    return f"{fixed(interval.low)}\N{EN DASH}{fixed(interval.high)}"
