"""The columns of the tables: what stands over each, and how a row fills its cell."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import pandas as pd

from clip_bench.record import Outcome
from clip_bench.report import platforms, speedups
from clip_bench.report.figures import ABSENT, clean, factor, fixed, millis, points, shorten, unproven
from clip_bench.timing.percentiles import needed

Row = dict[Hashable, Any]
Cell = Callable[[Row], str]

TOWERS = {"image": "Vision", "text": "Text", "pair": "CLIP"}
NOTES = {
    "†": "random weights: speed and similarity only",
    "‡": "not hardware: the answers of such a device without its speed, never timed",
    "¶": "numerics: what the graph answers on a CPU, not what the device does; never timed",
    "§": "gate failed: not timed; its reason stands with the cells without a time",
    "◊": "published: what somebody else told, not measured here",
}
PUBLISHED = "◊"
UNTIMED = ("‡", "¶")


def platform(row: Row) -> str:
    """Device and runtime, chip and RAM, on three lines, as the Olive CLIP examples print them."""
    lines = (f"**{platforms.title(row['target'])}**", row["chip"], row["ram"])
    return "<br/>".join(clean(line) for line in lines if line)


def model(row: Row) -> str:
    """The published word, the model and its precision: 'Vision Model, vit_b_32_openai, int8_qdq'."""
    return f"{TOWERS.get(row['tower'], row['tower'])} Model, {row['model']}, {precision(row)}"


def precision(row: Row) -> str:
    """The precision, with what else the variant changes than the call."""
    return " ".join(filter(None, (row["precision"], row["bare"])))


def label(row: Row) -> str:
    """A cell among others of its model, its tower and its call: 'openvino-cpu int8_nncf'."""
    return f"{row['target']} {precision(row)}"


def cell(row: Row) -> str:
    """A cell among others of its tower and its call: 'vit_b_32_openai, openvino-cpu, int8_nncf'."""
    return ", ".join((row["model"], row["target"], precision(row)))


def proven(row: Row, percentile: int) -> str:
    """The time that a percentile is proven to stay under, or how many calls would prove one."""
    if pd.isna(row["rounds"]):
        return ABSENT
    value = row[f"p{percentile}_proven_ms"]
    return unproven(row["rounds"], needed(percentile)) if pd.isna(value) else f"≤ {millis(value)}"


def marks(row: Row) -> str:
    """The marks of :data:`NOTES` that hold for the row."""
    told = {
        "†": row["weights"] == "random",
        "‡": row["device"] == platforms.EMULATED,
        "¶": row["device"] == platforms.NUMERICS,
        "§": row["outcome"] == Outcome.GATE_FAILED,
        "≈": bool(row["unstable"]),
    }
    return " ".join(mark for mark, holds in told.items() if holds)


def notes(rows: Sequence[Row]) -> str:
    """What the marks of *rows* mean, a line each."""
    told = {mark for row in rows for mark in marks(row).split()}
    return "\n".join(f"{mark} {note}." for mark, note in NOTES.items() if mark in told)


def outcome(row: Row) -> str:
    """How the cell ended and, in short, why it did not end ok."""
    why = row["failures"] or row["reason"]
    word = str(row["outcome"]).replace("_", " ")
    return word if row["outcome"] == Outcome.OK or not why else clean(f"{word}: {shorten(why)}")


# What stands over a column on a page, and in a terminal: nothing where it is left out there.
HARDWARE: dict[str, tuple[str, Cell]] = {
    "Accuracy (%)": ("Acc %", lambda row: fixed(row["top1_percent"], 1)),
    "Degrad (%)": ("Degrad %", lambda row: fixed(row["degrad_percent"])),
    "Mean Similarity": ("Similarity", lambda row: fixed(row["similarity_mean"], 4)),
    "Latency Avg (ms)": ("Avg ms", lambda row: millis(row["mean_ms"])),
    "Latency P90, linear (ms)": ("P90 linear ms", lambda row: millis(row["p90_ms"])),
    "Latency P90, proven (ms)": ("", lambda row: proven(row, 90)),
    "Latency P99, proven (ms)": ("", lambda row: proven(row, 99)),
    "Latency Max (ms)": ("Max ms", lambda row: millis(row["max_ms"])),
    "Latency Min (ms)": ("Min ms", lambda row: millis(row["min_ms"])),
    "Throughput Avg (samples/sec)": ("Avg /s", lambda row: fixed(row["throughput_avg"])),
    "Throughput Max (samples/sec)": ("Max /s", lambda row: fixed(row["throughput_max"])),
    "Throughput Min (samples/sec)": ("Min /s", lambda row: fixed(row["throughput_min"])),
}
FULL: dict[str, Cell] = {
    "Target": lambda row: row["target"],
    "Precision": lambda row: " ".join(filter(None, (precision(row), *(m for m in (*UNTIMED, "≈") if m in marks(row))))),
    "Placed": lambda row: clean(row["executed_nodes"]),
    "Executed": lambda row: clean(row["executed_dtypes"]),
    "Outcome": outcome,
    "Size (MB)": lambda row: fixed(row["size_mb"]),
    "Load (s)": lambda row: fixed(row["load_s"]),
    "First (ms)": lambda row: millis(1e3 * row["first_s"]),
    "Peak (MB)": lambda row: fixed(row["peak_mb"], 0),
    "P50 (ms)": lambda row: millis(row["p50_ms"]),
    "P90, linear (ms)": lambda row: millis(row["p90_ms"]),
    "P90, proven (ms)": lambda row: proven(row, 90),
    "Min (ms)": lambda row: millis(row["min_ms"]),
    "Max (ms)": lambda row: millis(row["max_ms"]),
    "Throughput (samples/sec)": lambda row: fixed(row["throughput_avg"]),
    "Speed-up": speedups.told,
    "Mean similarity": lambda row: fixed(row["similarity_mean"], 4),
    "Worst sample": lambda row: fixed(row["similarity_min"], 4),
    "Other inputs": lambda row: fixed(row["similarity_between"], 4),
    "Drift (x floor)": lambda row: factor(row["drift_ratio"]),
    "Top-1 (%)": lambda row: fixed(row["top1_percent"], 1),
    "Change (points)": lambda row: points(row["top1_percent"] - row["top1_reference_percent"]),
    "R@1 text→image (%)": lambda row: fixed(row["t2i_r1_percent"], 1),
    "R@1 image→text (%)": lambda row: fixed(row["i2t_r1_percent"], 1),
}
FULL_WORDS = 5  # of these columns, how many hold words
