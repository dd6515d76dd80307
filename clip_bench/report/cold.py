"""The cold path of each cell, from the weights to the first steady call."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from clip_bench.memory import Step
from clip_bench.report import platforms
from clip_bench.report.blocks import filled, has, join, models
from clip_bench.report.calls import describe, heading, split
from clip_bench.report.columns import Row, precision
from clip_bench.report.figures import ABSENT, fixed, millis
from clip_bench.specs import Precision

MB = 1e-6
# The names of steps that the store keeps; those that end in a precision quantize, and the rest convert.
EXPORT = {"program", "onnx", "replay", "onnx_for_tpu_mlir"}
QUANTIZED = tuple(str(each) for each in Precision if each not in {Precision.FP32, Precision.FP16, Precision.BF16})
OWN = {"import": "Import", "load": "Load", "first": "First call"}
WORDS = ("Import", "Export", "Convert", "Quantize", "Load")
LEGEND = (
    "The time of each step, and in parentheses by how many MB resident memory rose in it. Load and first call are of "
    "this run; the artifact was built once, on whichever day that was, and *Build* is all of that. *Load* is also the "
    "compilation, where the runtime compiles when it loads. *Steady after* counts the first calls until the times stay "
    "the same."
)


def table(frame: pd.DataFrame) -> str:
    """Every cell that was loaded on hardware, a table for each kind of call; empty where none was."""
    rows = [row for row in models(frame) if row["device"] not in platforms.NOT_HARDWARE and has(row, "load_s")]
    parts = []
    for group in split(rows):
        parts += [f"### {heading(group)}", describe(group), filled(_columns(group), 3)]
    return join([LEGEND, *parts]) if parts else ""


def word(step: str) -> str:
    """What a step does: one of :data:`WORDS`, or the first call."""
    if step in OWN:
        return OWN[step]
    if step in EXPORT:
        return "Export"
    return "Quantize" if step.endswith(QUANTIZED) else "Convert"


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    steps = {head: [_step(row, head) for row in rows] for head in WORDS}
    return {
        "Model": [row["model"] for row in rows],
        "Target": [row["target"] for row in rows],
        "Precision": [precision(row) for row in rows],
        "Build (s)": [fixed(row["build_s"]) for row in rows],
        **{f"{head} (s)": cells for head, cells in steps.items()},
        "First call (ms)": [_first(row) for row in rows],
        "Steady after": [_steady(row) for row in rows],
        "Size (MB)": [fixed(row["size_mb"]) for row in rows],
    }


def _step(row: Row, head: str) -> str:
    """The seconds of the steps of one word, and the most memory that one of them took."""
    own = [step for step in row["steps"] or () if word(step.name) == head]
    if not own:
        return fixed(row["load_s"]) if head == "Load" else ABSENT
    seconds = sum(step.seconds for step in own)
    return _with_peak(fixed(seconds, 2 if seconds >= 1 else 3), own)


def _first(row: Row) -> str:
    text: str = ABSENT if pd.isna(row["first_s"]) else millis(1e3 * row["first_s"])
    return text if text == ABSENT else _with_peak(text, [step for step in row["steps"] or () if step.name == "first"])


def _with_peak(text: str, steps: Sequence[Step]) -> str:
    peaks = [step.peak_bytes for step in steps if step.peak_bytes is not None]
    return f"{text} ({fixed(MB * max(peaks), 0)})" if peaks else text


def _steady(row: Row) -> str:
    if has(row, "steady"):
        return str(row["steady"])
    return "not reached" if has(row, "calls") and row["calls"] else ABSENT
