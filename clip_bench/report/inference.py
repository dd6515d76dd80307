"""The inference table: what a call takes on average, how far it strays, and how far the embeddings are from FP32's."""

from __future__ import annotations

from statistics import fmean, stdev

import pandas as pd

from clip_bench.report import platforms
from clip_bench.report.blocks import has, join, models
from clip_bench.report.calls import describe, heading, split
from clip_bench.report.columns import Row, cell
from clip_bench.report.figures import ABSENT, fixed, markdown, millis

HEADS = ("Models", "Time cost", "Difference", "Cosine", "Comments", "Links")
LEGEND = (
    "*Time cost*: mean ± standard deviation of the rounds. *Difference*: the mean of |embedding - embedding of the FP32 "
    "reference| over all samples and dimensions, not normalised, as fast-clip-research publishes it: it depends on the "
    "model's scale, so compare it within a model, and the cosine beside it between models."
)


def table(frame: pd.DataFrame) -> str:
    """Every timed cell whose difference is known, a table for each kind of call; empty where there is none."""
    rows = [row for row in models(frame) if has(row, "difference") and row["rounds_s"]]
    parts = []
    for group in split(rows):
        parts += [f"### {heading(group)}", describe(group), markdown(HEADS, [_line(row) for row in group])]
    return join([LEGEND, *parts]) if rows else ""


def _line(row: Row) -> list[str]:
    return [
        cell(row),
        cost([1e3 * each for each in row["rounds_s"]]),
        f"{row['difference']:.1e}",
        fixed(row["similarity_mean"], 4),
        "random weights" if row["weights"] == "random" else ABSENT,
        f"[link]({platforms.LINKS[row['backend']]})" if row["backend"] in platforms.LINKS else ABSENT,
    ]


def cost(rounds_ms: list[float]) -> str:
    """'7.76 ms ± 127 µs': the mean, and the standard deviation in whole microseconds or, from 1 ms on, in ms."""
    if len(rounds_ms) < 2:  # noqa: PLR2004  one has no deviation
        return f"{millis(fmean(rounds_ms))} ms"
    spread = stdev(rounds_ms)
    return f"{millis(fmean(rounds_ms))} ms ± {f'{fixed(1e3 * spread, 0)} µs' if spread < 1 else f'{fixed(spread)} ms'}"
