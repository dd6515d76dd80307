"""What a larger batch costs in latency and brings in throughput: the batches of a cell side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from clip_bench.report.blocks import alike, has, join, models
from clip_bench.report.calls import SETTING, rank
from clip_bench.report.columns import TOWERS, Row, precision
from clip_bench.report.figures import ABSENT, fixed, markdown, millis
from clip_bench.report.rows import CALL

CELL = ("machine", "model", "target", "precision", "bare")
APART = ("tower", *(name for name in SETTING if name != "batch"))
LEGEND = "One call at each batch, by the newest run with it: the median of its latency, and the samples that it does in a second."


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The rows of one cell, by their batch: two or more."""

    by_batch: dict[int, Row]

    @property
    def first(self) -> Row:
        """The row of the least batch."""
        return self.by_batch[min(self.by_batch)]


def growths(frame: pd.DataFrame) -> list[list[Growth]]:
    """Every cell with a time at two batches or more, one request at a time; those of one tower and call together."""
    rows = [row for row in models(frame) if has(row, "rounds") and has(row, "batch") and row["load"] == "latency"]
    found = []
    for group in sorted(alike(rows, APART), key=lambda group: rank(group[0]["tower"])):
        cells = alike(group, (*CELL, *(name for name in CALL if name != "batch")))
        told = [Growth(by_batch={int(row["batch"]): row for row in cell}) for cell in cells]
        found.append([growth for growth in told if len(growth.by_batch) > 1])
    return [several for several in found if several]


def table(frame: pd.DataFrame) -> str:
    """A table for each tower and call; empty where no cell has two batches."""
    parts = []
    for several in growths(frame):
        first, sizes = several[0].first, sorted({size for growth in several for size in growth.by_batch})
        heads = [
            *("Model", "Target", "Precision"),
            *(f"Batch {size} (ms)" for size in sizes),
            *(f"Batch {size} (samples/s)" for size in sizes),
        ]
        inside = f"Inside the clock: {first['inside_clock'] or 'not recorded'}."
        parts += [
            f"### {TOWERS.get(first['tower'], first['tower'])} Model, on {first['threads'] or 'the runtime chooses its'} threads",
            inside,
            markdown(heads, [_line(growth, sizes) for growth in several], left=3),
        ]
    return join([LEGEND, *parts]) if parts else ""


def _line(growth: Growth, sizes: Sequence[int]) -> list[str]:
    rows = [growth.by_batch.get(size) for size in sizes]
    first = growth.first
    return [
        *(first["model"], first["target"], precision(first)),
        *(ABSENT if row is None else millis(row["p50_ms"]) for row in rows),
        *(ABSENT if row is None else fixed(row["throughput_avg"]) for row in rows),
    ]
