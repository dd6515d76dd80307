"""Profiles as vendors' profilers print them: throughput and latency under a load, beside one request at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clip_bench.report.blocks import alike, filled, has, join, models
from clip_bench.report.calls import rank
from clip_bench.report.columns import TOWERS, Row, marks, precision
from clip_bench.report.figures import ABSENT, fixed, micros, unproven
from clip_bench.timing.percentiles import SHOWN, bound

BESIDE = ("machine", "tower", "model", "target", "precision", "bare")
APART = ("tower", "texts", "threads", "inside")
COPY = "copy of the inputs, "  # inside the clock of fresh inputs, which have a column
WORDS = ("Model", "Target", "Precision", "Load", "Inputs")
MS = 1e3
LEGEND = (
    "Instances is of the model on each device; each has one request that it executes and *queue size* more that wait. "
    "Under *latency* one request is under way at a time. A request's time under load includes its wait in "
    "the queue, and qps counts samples, so that throughput · mean latency / batch is how many requests were under way. "
    "Times are in whole µs. A percentile with ≤ is proven: at 99 % confidence so many requests stay under it; else it "
    "tells how many requests would prove it. *Linear* ones are interpolated, and stand only beside a proven one. ≈ is not "
    "stable; why stands with the hardware table."
)


def profiles(frame: pd.DataFrame, percentiles: Sequence[float] = SHOWN, *, alone: bool = False) -> str:
    """Every timed cell under a load with those of one request at a time beside it; empty where nothing was loaded.

    *alone* shows those of one request at a time that have no load beside them, too. *percentiles* are in percent.
    Tables stand apart by tower, texts and threads; how requests arrive is in the columns.

    Raises:
        UsageError: a percentile that is not between 0 and 100.
    """
    rows = [row for row in models(frame) if has(row, "rounds")]
    loaded = {_same(row) for row in rows if row["load"] == "throughput"}
    kept = [row | {"inside": row["inside_clock"].removeprefix(COPY)} for row in rows if alone or _same(row) in loaded]
    parts = []
    for group in sorted(alike(sorted(kept, key=_order), APART), key=lambda group: rank(group[0]["tower"])):
        first = group[0]
        threads = f"{first['threads']} threads" if first["threads"] else "the runtime's own choice of threads"
        parts += [
            f"### {TOWERS.get(first['tower'], first['tower'])} Model, on {threads}",
            f"Inside the clock: {first['inside'] or 'not recorded'}.",
            filled(_columns(group, percentiles), len(WORDS)),
        ]
    return join([LEGEND, *parts]) if parts else ""


def _columns(rows: Sequence[Row], percentiles: Sequence[float]) -> dict[str, list[str]]:
    heads = {
        "Model": [row["model"] for row in rows],
        "Target": [row["target"] for row in rows],
        "Precision": [" ".join((precision(row), *("≈" for mark in marks(row) if mark == "≈"))) for row in rows],
        "Load": [row["load"] for row in rows],
        "Inputs": [row["inputs"] for row in rows],
        "Instances": [str(row["instances"]) for row in rows],
        "Devices": [row["device_ids"] for row in rows],
        "Queue size": [str(row["queue"]) for row in rows],
        "Batch size": [str(row["batch"]) for row in rows],
        "Throughput (qps)": [fixed(row["throughput_avg"]) for row in rows],
        "Avg (µs)": [micros(row["mean_ms"]) for row in rows],
        "Min (µs)": [micros(row["min_ms"]) for row in rows],
        "Max (µs)": [micros(row["max_ms"]) for row in rows],
    }
    heads |= {f"P{each:g} (µs)": [_proven(row, each) for row in rows] for each in percentiles}
    return heads | {f"P{each:g}, linear (µs)": [_linear(row, each) for row in rows] for each in percentiles}


def _proven(row: Row, percentile: float) -> str:
    found = bound(row["rounds_s"], percentile)
    return unproven(found.samples, found.needed) if found.value_s is None else f"≤ {micros(MS * found.value_s)}"


def _linear(row: Row, percentile: float) -> str:
    if bound(row["rounds_s"], percentile).value_s is None:
        return ABSENT
    return micros(MS * float(np.percentile(row["rounds_s"], percentile)))


def _same(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in BESIDE)


def _order(row: Row) -> tuple[object, ...]:
    """Cells in the order of their words, each from the least load to the greatest."""
    load = tuple(0 if pd.isna(row[name]) else int(row[name]) for name in ("batch", "instances", "queue"))
    return (*_same(row), row["load"], row["inputs"], *load, row["device_ids"])
