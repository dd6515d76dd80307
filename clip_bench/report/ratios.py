"""The paired ratios of a page: the speed-up of each cell from interleaved blocks, beside a null that is known."""

from __future__ import annotations

import pandas as pd

from clip_bench.report.blocks import join, models
from clip_bench.report.calls import describe, heading, split
from clip_bench.report.columns import Row, cell
from clip_bench.report.figures import fixed, markdown, times
from clip_bench.report.speedups import span
from clip_bench.timing.paired import CACHED, Ratio

HEADS = (
    *("Cell", "Speed-up", "95 % interval", "Null (truth 1)", "False positives (%)", "Smallest seen (%)"),
    *("Repeated inputs", "Verdict"),
)
LEGEND = (
    "This cell and PyTorch FP32 on the CPU took turns in one window, in blocks of random order and then in its mirror, on "
    "inputs that neither had seen. *Null* is PyTorch FP32 against itself in the same window: its truth is 1, and how far "
    "it strays is the error of the comparison. *False positives*: how often that null alone would have been called a "
    "difference, over relabelings of its blocks; 5 is what it should be. *Smallest seen*: the least speed-up that this run "
    "had an 80 % chance to see. *Repeated inputs*: the time on unseen inputs over that on one input again and again; "
    f"surely above {CACHED:g} is a cache."
)


def table(frame: pd.DataFrame) -> str:
    """Every cell that was paired, a table for each kind of call; empty where none was."""
    rows = [row for row in models(frame) if row["ratio"] is not None]
    parts = []
    for group in split(rows):
        parts += [f"### {heading(group)}", describe(group), markdown(HEADS, [_line(row) for row in group])]
    return join([LEGEND, *parts, _strays(rows)]) if rows else ""


def _line(row: Row) -> list[str]:
    found: Ratio = row["ratio"]
    return [
        cell(row),
        times(found.speedup.value),
        span(found.speedup),
        f"{fixed(found.null.value)} ({span(found.null)})",
        fixed(100 * found.false_positives, 1),
        fixed(found.smallest_percent, 0),
        f"{fixed(found.caching.value)} ({span(found.caching)})",
        _verdict(found),
    ]


def _verdict(found: Ratio) -> str:
    words = "no difference seen"
    if found.speedup.excludes_one:
        words = "faster" if found.speedup.value > 1 else "slower"
    doubts = {"the null strays, too": found.null.excludes_one, "caches repeated inputs": found.caches}
    return "; ".join([words, *(doubt for doubt, holds in doubts.items() if holds)])


def _strays(rows: list[Row]) -> str:
    """The measured rate of false positives over all cells."""
    strays = sum(row["ratio"].null.excludes_one for row in rows)
    rate = fixed(100 * strays / len(rows), 0)
    return f"{strays} of {len(rows)} null intervals exclude 1 ({rate} %; 5 % is what it should be)."
