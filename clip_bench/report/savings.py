"""File size and inference time of each precision beside its float model: what a smaller graph saves, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from clip_bench.report import speedups, variants
from clip_bench.report.blocks import filled, has, join, models
from clip_bench.report.calls import describe, heading, split
from clip_bench.report.columns import Row, marks, notes, precision
from clip_bench.report.figures import ABSENT, fixed, points, times
from clip_bench.report.rows import CALL
from clip_bench.specs import Precision

FLOATS = (Precision.FP16, Precision.FP32)
CELL = ("machine", "run", "model", "tower", "target", *CALL)
WORDS = 3  # of the columns, how many hold words
LEGEND = (
    "*Smaller* and *Faster* are ratios: how many times smaller and faster than the same model, tower, target and call in "
    "FP16 and in FP32 in the same run, by bytes on disk and by the medians of two windows (of a load: by the "
    "throughputs). *Speed-up* is over PyTorch FP32 on the CPU, as in the full table. MB is 10^6 bytes: where others print "
    "2^20 bytes as MB, ratios agree and sizes do not. A file that the runtime quantizes or halves only when it loads it "
    "is no smaller. A cell with neither float model in its run is not here; what is no hardware has a size, and no time. ≈ is not stable; "
    "why stands with the hardware table."
)


def table(frame: pd.DataFrame) -> str:
    """Every cell whose size is known beside that of a float one, a table for each kind of call; empty where none is."""
    rows = [row for row in models(frame) if has(row, "size_mb")]
    floats = {_key(row, row["precision"]): row for row in rows if row["precision"] in FLOATS}
    kept = [row for row in rows if any(_other(row, each, floats) for each in FLOATS)]
    parts = []
    for group in split(kept):
        parts += [
            f"### {heading(group)}",
            describe(group, scores=True),
            filled(_columns(group, floats), WORDS),
            notes(group),
        ]
    return join([LEGEND, *parts]) if parts else ""


def _columns(rows: Sequence[Row], floats: Mapping[tuple[str, ...], Row]) -> dict[str, list[str]]:
    told = {
        "Model": [row["model"] for row in rows],
        "Target": [row["target"] for row in rows],
        "Precision": [_marked(row) for row in rows],
        "Size (MB)": [fixed(row["size_mb"]) for row in rows],
    }
    for each in reversed(FLOATS):
        pairs = [(row, _other(row, each, floats)) for row in rows]
        told[f"Size in {each} (MB)"] = [ABSENT if other is None else fixed(other["size_mb"]) for _, other in pairs]
        told[f"Smaller than {each}"] = [_over(row, other, "size_mb") for row, other in pairs]
        told[f"Faster than {each}"] = [_over(row, other, "call_s") for row, other in pairs]
    return told | {
        "Speed-up": [speedups.told(row) for row in rows],
        "Mean similarity": [fixed(row["similarity_mean"], 4) for row in rows],
        "Top-1 (%)": [fixed(row["top1_percent"], 1) for row in rows],
        "Change (points)": [points(row["top1_percent"] - row["top1_reference_percent"]) for row in rows],
    }


def _marked(row: Row) -> str:
    return " ".join(filter(None, (precision(row), marks(row))))


def _other(row: Row, each: Precision, floats: Mapping[tuple[str, ...], Row]) -> Row | None:
    """The float cell that *row* is held against: FP32 is held against nothing."""
    return None if row["precision"] in {Precision.FP32, each} else floats.get(_key(row, each))


def _over(row: Row, other: Row | None, name: str) -> str:
    if other is None or not has(row, name) or not has(other, name) or not row[name]:
        return ABSENT
    return times(other[name] / row[name])


def _key(row: Row, precision: str) -> tuple[str, ...]:
    return (*(str(row[name]) for name in CELL), variants.uncalibrated(row["bare"]), precision)
