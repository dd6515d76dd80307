"""What more requests at once cost in latency and bring in throughput: the loads of a cell side by side."""

from __future__ import annotations

from collections.abc import Sequence

from clip_bench.plain import plural
from clip_bench.report.blocks import alike, has
from clip_bench.report.calls import SETTING
from clip_bench.report.columns import Row, label
from clip_bench.report.plots import Load

LOAD = ("load", "instances", "queue")
FAMILY = ("model", "tower", *(name for name in SETTING if name not in LOAD))
SECONDS = 1e-3


def families(rows: Sequence[Row]) -> list[list[Row]]:
    """Timed *rows* that differ in the cell, and in how many requests are under way, and in nothing else of the call."""
    called = [row for row in rows if has(row, "instances", "queue") and has(row, "throughput_avg")]
    return [group for group in alike(called, FAMILY) if loads(group)]


def loads(rows: Sequence[Row]) -> list[Load]:
    """Every cell that was timed with two numbers of requests under way, or more, for so many instances.

    One request at a time is the first of them, unless a load was that, too: it waits for nothing.
    """
    found = []
    plain_first = sorted(rows, key=lambda row: row["load"] != "latency")
    for cell in alike(plain_first, ("target", "precision", "bare", "instances")):
        instances = int(cell[0]["instances"])
        by_number = {instances * (1 + int(row["queue"])): row for row in cell}
        if len(by_number) > 1:
            more = f", {plural(instances, 'instance')}" if instances > 1 else ""
            points = tuple((way, SECONDS * row["p50_ms"], row["throughput_avg"]) for way, row in by_number.items())
            found.append(Load(label=f"{label(cell[0])}{more}", points=points))
    return found
