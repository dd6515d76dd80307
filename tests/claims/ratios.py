"""Ratios survive a shared machine: the same two cells compared ten times give ten ratios close together.

``python tests/claims/ratios.py [CELL ...]``. Each repetition loads the cell anew and does what a run with ``--paired``
does: a window of the cell alone, and blocks of it and of PyTorch FP32 in turns, with the pipeline's own numbers of
groups and calls. Beside that it takes a window of PyTorch FP32 alone, so that the ratio of two windows, which is what a
table of separate cells gives, comes from the same minutes. Bound: every paired ratio within 10 % of their median; the
plain ratios have no bound, and show what the blocks are for. ``intervals`` is how many of the ten intervals, at 95 %,
hold the median of all: what they say of themselves.

It says nothing on a machine at rest. To try it on a busy one, run something else at the same time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import cells
import verdict

from clip_bench import backends, pipeline
from clip_bench.record import Timing
from clip_bench.settings import Settings
from clip_bench.specs import BASELINE, Case, Precision
from clip_bench.timing import latency, paired
from clip_bench.timing.paired import Interval
from clip_bench.timing.stopwatch import Stopwatch

REPETITIONS = 10
BOUND = 0.10
CELLS = (
    "image-shapes_tiny-onnxruntime-cpu-int8_dynamic",
    "image-shapes_tiny-openvino-cpu-fp32",
    "image-vit_b_32_random-openvino-cpu-int8_nncf",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """PyTorch's time over the cell's, by blocks in turns and by two windows, and the seconds that the blocks took."""

    paired: Interval
    plain: float
    blocks_s: float


def window(prepared: pipeline.Prepared, options: Settings) -> Timing:
    """The rounds of a cell alone, as the suite takes them."""
    return latency.measure(
        Stopwatch(),
        prepared.session,
        prepared.rotated,
        warmups=pipeline.WARM_UPS,
        rounds=options.rounds,
    )


def repeated(case: Case, options: Settings) -> Repetition:
    """One repetition."""
    reference = replace(case, target=BASELINE, precision=Precision.FP32)
    with cells.loaded(reference, options) as prepared:
        other = window(prepared, options)
    with cells.loaded(case, options) as prepared:
        record = replace(prepared.record, timing=window(prepared, options))
        began = time.perf_counter()
        record = pipeline.interleaved(prepared, record, backends.discover(), options)
        blocks_s = time.perf_counter() - began
    return Repetition(
        paired=paired.ratio(record.paired).speedup,
        plain=median(other.rounds_s) / median(record.timing.rounds_s),
        blocks_s=blocks_s,
    )


def spread(values: Sequence[float]) -> float:
    """The largest minus the smallest, over the median."""
    return (max(values) - min(values)) / median(values)


def farthest(values: Sequence[float]) -> float:
    """How far the farthest is from the median, as a share of it."""
    middle = median(values)
    return max(abs(value / middle - 1) for value in values)


def told(name: str, found: Sequence[Repetition]) -> list[verdict.Row]:
    """A line for the paired ratios, and one for the plain ones."""
    values, plain = [each.paired.value for each in found], [each.plain for each in found]
    inside = sum(each.paired.low <= median(values) <= each.paired.high for each in found)
    width = median((each.paired.high - each.paired.low) / each.paired.value for each in found)
    rows = []
    for way, ratios, bound in (("paired", values, f"±{BOUND:.0%}"), ("two windows", plain, "")):
        rows.append(
            verdict.row(
                cell=name,
                ratio_by=way,
                median=f"{median(ratios):.3f}",
                all=" ".join(f"{each:.2f}" for each in ratios),
                spread=f"{spread(ratios):.1%}",
                farthest=f"{farthest(ratios):.1%}",
                bound=bound,
                intervals=f"{inside} of {len(found)}, {width:.1%} wide" if bound else "",
                seconds_each=f"{median(each.blocks_s for each in found):.1f}" if bound else "",
                holds=farthest(ratios) <= BOUND if bound else None,
            )
        )
    return rows


def main(names: Sequence[str]) -> int:
    """Every cell, ten times; a table for each, since all take minutes."""
    return max([verdict.show(measured(name)) for name in names])


def measured(name: str) -> list[verdict.Row]:
    """The lines of one cell."""
    options = cells.settings(name.split("-")[1])
    case = cells.here(options)[name]
    return told(name, [repeated(case, options) for _ in range(REPETITIONS)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or CELLS))
