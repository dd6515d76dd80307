"""What each vendor's examples tell of their quantized graphs: types, latency, throughput, accuracy, similarity."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from clip_bench.report import platforms
from clip_bench.report.blocks import alike, has, join, models
from clip_bench.report.calls import describe, heading, split
from clip_bench.report.columns import Row, marks, model, notes
from clip_bench.report.figures import fixed, markdown, millis
from clip_bench.specs import Precision

Types = tuple[str, str]  # of activations, and of weights

INT8: Types = ("INT8", "INT8")
TYPES: Mapping[str, Types] = {
    Precision.FP16: ("Float16", "Float16"),
    Precision.BF16: ("BFloat16", "BFloat16"),
    Precision.INT8_DYNAMIC: INT8,
    Precision.INT8_QDQ: ("QUInt8", "QInt8"),
    Precision.INT8_NNCF: INT8,
    Precision.INT8_VENDOR: INT8,
    Precision.A16W8: ("QUInt16", "QUInt8"),
}
UNSIGNED: Types = ("QUInt8", "QUInt8")  # int8_qdq of these providers, as their examples have it
PROVIDERS = frozenset({"qnn", "vitisai"})
LATENCY = "latency"
WORDS = 3  # of the columns, how many hold words
LEGEND = (
    "The types are those of the recipe; which ones ran, by the runtime's own evidence, stands under *In full*. *Size* is how "
    "many samples the accuracy is over; rows to calibrate on are never among them. How many those were is a part of the "
    "recipe: a run tells it where `--calibration` chose it, as in `minmax_100`. A time is that of this one tower: an "
    "encoder alone is not comparable with both fused, so these are tables of their own. ≈ is not stable; why stands with the "
    "hardware table."
)


def table(frame: pd.DataFrame) -> str:
    """Every judged cell that is cheaper than FP32, one sample at a time; a table for each platform and kind of call."""
    rows = [row for row in models(frame) if row["precision"] in TYPES and has(row, "similarity_mean", "rounds")]
    kept = [row for row in rows if row["load"] == LATENCY and row["batch"] == 1]
    parts = []
    for group in split(kept):
        parts += [f"### {heading(group)}", describe(group, scores=True)]
        parts += [part for rows in alike(group, ("target",)) for part in _platform(rows)]
    return join([LEGEND, *parts]) if parts else ""


def types(target: str, precision: str) -> Types:
    """The types of activations and weights that the recipe of *precision* has for *target*."""
    if precision == Precision.INT8_QDQ and PROVIDERS & set(target.split("-")):
        return UNSIGNED
    return TYPES[precision]


def _platform(rows: list[Row]) -> list[str]:
    told = [types(row["target"], row["precision"]) for row in rows]
    columns = {
        "Model": [" ".join(filter(None, (model(row), marks(row)))) for row in rows],
        "Activation Type": [activations for activations, _ in told],
        "Weight Type": [weights for _, weights in told],
        "Size": [fixed(row["samples"], 0) if has(row, "samples") else fixed(None) for row in rows],
        "Latency ms (avg)": [millis(row["mean_ms"]) for row in rows],
        "Throughput (samples/sec)": [fixed(row["throughput_avg"]) for row in rows],
        "Accuracy (%)": [fixed(row["top1_percent"], 1) for row in rows],
        "Mean Similarity": [fixed(row["similarity_mean"], 4) for row in rows],
    }
    table = markdown(list(columns), list(zip(*columns.values(), strict=True)), WORDS)
    return [f"#### {platforms.title(rows[0]['target'])}", table, notes(rows)]
