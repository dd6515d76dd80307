"""Markdown tables of a frame: the hardware table as published, and the full one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from clip_bench.record import Outcome
from clip_bench.report import narrow, noise, platforms
from clip_bench.report.blocks import alike, filled, has, join
from clip_bench.report.calls import SETTING, brief, describe, rank
from clip_bench.report.columns import (
    FULL,
    FULL_WORDS,
    HARDWARE,
    NOTES,
    TOWERS,
    UNTIMED,
    Cell,
    Row,
    marks,
    model,
    notes,
    platform,
    precision,
)
from clip_bench.report.figures import clean, markdown
from clip_bench.report.holes import holes
from clip_bench.report.rows import CALL

__all__ = ["full", "hardware", "holes", "overhead", "terminal"]

HEADINGS = {
    "image": "Vision Model: the image tower alone",
    "text": "Text Model: the text tower alone",
    "pair": "CLIP Model: both towers fused in one graph",
}
KINDS = {"emulated": "on emulators: answers, and no times", "numerics": "the graph's numerics alone"}
MEASURED = frozenset({Outcome.OK, Outcome.GATE_FAILED})
NOTHING = "No cell was measured."
LEGEND = (
    "Accuracy is zero-shot top-1; Degrad is 100 · (1 - mean cosine to the FP32 PyTorch embeddings). Every latency and "
    "throughput of a row comes from the same rounds. P90 is told twice: *linear*, interpolated as others publish it, and "
    "*proven*, a time that at 99 % confidence so many calls stay under, where there are calls enough. Each table has a boundary of its own: a time in one says nothing "
    "about a time in another."
)
FULL_LEGEND = (
    "Placed and Executed count nodes by where and in which type they ran, by the runtime's own evidence. "
    "Speed-up is over PyTorch FP32 on the CPU in the same run: *paired*, from interleaved blocks and with its 95 % "
    "interval, or from *two windows*, by the medians (of a load: by the throughputs). Similarity is the cosine to the FP32 "
    "reference of the same input; *Other inputs* is the reference's mean cosine to different inputs, what no skill at "
    "all would score. Drift is 1 - similarity, as a multiple of what the reference itself drifts when it is computed "
    "another way: in another batch, with other threads, or again; that is its noise floor. Change is against the "
    "reference's top-1 on the same samples. Peak is how far the process's resident set rose above its level before the "
    "load: the runtime, weights, activations and inputs, less what an earlier cell freed and the allocator kept. ≈ is not "
    "stable; why stands with the hardware table. A column without a figure is left out."
)


def hardware(frame: pd.DataFrame) -> str:
    """The *Hardware Test Results* table of the Olive CLIP examples, one for each unlike call.

    A platform stands once over its rows. Cells that failed their gate, or ran on no hardware, show their similarity
    and no time; the null target stands apart, as what the harness adds to every row.
    """
    columns = {head: cell for head, (_, cell) in HARDWARE.items()}
    parts = _hardware(frame, columns, platform, noise.reasons)
    return join([LEGEND if parts else NOTHING, *parts, overhead(frame)])


def terminal(frame: pd.DataFrame, width: int | None = None) -> str:
    """The hardware table for a terminal: short headings, one line per row, no reasons.

    In a *width* of columns no line wraps: what of a table does not fit is left out and named.
    """
    columns = {short: cell for short, cell in HARDWARE.values() if short}
    parts = _hardware(frame, columns, lambda row: platforms.title(row["target"]), noise.short, width)
    text = join(["" if parts else NOTHING, *parts, overhead(frame, width)])
    if width is None:
        return text
    cut = any(line and not line.strip("- ") for line in text.splitlines())  # the rule of a narrow table
    return narrow.wrapped(text + (f"\n{narrow.NOTE.format(columns=width)}" if cut else ""), width)


def full(frame: pd.DataFrame) -> str:
    """Everything measured, one table per model, tower and call; cells without any measurement are in the holes."""
    parts = []
    for rows in alike(_measured(frame), ("model", "tower", "run", "machine", *CALL)):
        first = rows[0]
        random = f"Random{NOTES['†'].removeprefix('random')}." if first["weights"] == "random" else ""
        cells = {head: [cell(row) for row in rows] for head, cell in FULL.items()}
        noted = [row for row in rows if row["executed_note"]]
        parts += [
            f"### {', '.join(filter(None, (first['model'], f'{_tower(first)} Model', brief(first))))}",
            " ".join(filter(None, (describe(rows, scores=True), _floor(rows), random))),
            filled(cells, FULL_WORDS),
            "\n".join(f"{mark} {NOTES[mark]}." for mark in UNTIMED if any(mark in t for t in cells["Precision"])),
            "\n".join(f"- {row['target']} {precision(row)}: {clean(row['executed_note'])}" for row in noted),
        ]
    return join([FULL_LEGEND, *parts]) if parts else "Nothing was measured.\n"


def overhead(frame: pd.DataFrame, width: int | None = None) -> str:
    """What the harness itself takes: the null target, which runs nothing; empty where it was not timed.

    In a *width* of columns no line wraps.
    """
    rows = [row for row in frame.to_dict("records") if row["backend"] == platforms.NULL and has(row, "rounds")]
    if not rows:
        return ""
    heads = ["Call", *(f"Latency {word} (ms)" for word in ("Avg", "P90, linear", "Max", "Min"))]
    cells = [[_called(row), *(HARDWARE[head][1](row) for head in heads[1:])] for row in rows]
    text = "The null target computes nothing: its time is what the harness adds to every row above."
    table = markdown(heads, cells)
    if width is not None and not narrow.fits(table, width):
        table = narrow.table(["Call", *(HARDWARE[head][0] for head in heads[1:])], cells, width)
    return join(["### Harness overhead", text, table])


def _hardware(
    frame: pd.DataFrame,
    columns: dict[str, Cell],
    head: Cell,
    noisy: Callable[[Sequence[Row]], str],
    width: int | None = None,
) -> list[str]:
    parts = []
    rows = [row for row in _measured(frame) if row["outcome"] in MEASURED and has(row, "rounds", "similarity_mean")]
    for row in rows:
        row["kind"] = row["device"] if row["device"] in platforms.NOT_HARDWARE else ""
    groups = alike(rows, ("tower", *SETTING, "kind"))
    for group in sorted(groups, key=lambda group: (rank(group[0]["tower"]), group[0]["kind"])):
        tower, kind = group[0]["tower"], group[0]["kind"]
        heads, lines = ["Platform", "Model", *columns], list(_block_rows(group, head, columns))
        table = markdown(heads, lines, left=2)
        if width is not None and not narrow.fits(table, width):
            table = narrow.table(heads[1:], narrow.blocks(lines), width)
        heading = ", ".join(filter(None, (HEADINGS.get(tower, tower), brief(group[0]), KINDS.get(kind, ""))))
        parts += [f"### {heading}", describe(group, scores=True), table, notes(group), noisy(group)]
    return parts


def _block_rows(rows: Sequence[Row], head: Cell, columns: dict[str, Cell]) -> Iterable[list[str]]:
    for block in alike(rows, ("machine", "run", "target")):
        for index, row in enumerate(block):
            what = " ".join(filter(None, (model(row), marks(row))))
            yield ["" if index else head(row), what, *(cell(row) for cell in columns.values())]


def _called(row: Row) -> str:
    """A cell of the null target, whose table holds all kinds of calls."""
    return ", ".join(filter(None, (model(row), brief(row))))


def _floor(rows: Sequence[Row]) -> str:
    """The reference's own noise, from the rows that were held against it."""
    floors = [row["drift_floor"] for row in rows if not pd.isna(row["drift_floor"])]
    return f"The reference's noise floor is a drift of {max(floors):.1e}." if floors else ""


def _tower(row: Row) -> str:
    return TOWERS.get(row["tower"], str(row["tower"]))


def _measured(frame: pd.DataFrame) -> list[Row]:
    kept = ("rounds", "similarity_mean", "load_s", "size_mb")
    return [row for row in frame.to_dict("records") if row["backend"] != platforms.NULL and has(row, *kept)]
