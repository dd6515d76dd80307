"""Rooflines: what the work of a cell reaches of what its machine was measured to do."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from clip_bench.report.blocks import alike, filled, has, join, models
from clip_bench.report.calls import describe, heading, split
from clip_bench.report.columns import Row, marks, precision
from clip_bench.report.figures import ABSENT, clean, fixed, markdown, shorten
from clip_bench.report.roofs import Ceilings

GIGA, MEGA = 1e9, 1e6
LEGEND = (
    "FLOPs and bytes are the least that a call has to do, by closed form: two FLOPs per multiply-add, each weight read once. "
    "*Reached* is the FLOPs over the median of the calls (of a load: over the window). *Bound* is the roof that is met "
    "first, arithmetic or memory, and *Of bound* its time over the measured one. A call faster than the roof allows is "
    "impossible; one more than 30 times slower is suspected to have run elsewhere. Weights in a cache need not cross the "
    "memory's bus, so that a share above 100 % of bandwidth is no contradiction. Memory is measured from the processor: "
    "a GPU or an NPU is held to arithmetic alone. ≈ is not stable."
)


def table(frame: pd.DataFrame) -> str:
    """The ceilings of each run, and the cells below them, a table for each kind of call; empty without any work."""
    rows = [row for row in models(frame) if has(row, "reached_flops_s")]
    if not rows:
        return ""
    parts = [_ceilings(group) for group in alike(rows, ("machine", "run")) if group[0]["ceilings"]]
    without = dict.fromkeys(row["run"] for row in rows if not row["ceilings"])
    parts += [f"No ceilings in {', '.join(without)}: measure them with --roofline."] if without else []
    for group in split(rows):
        parts += [f"### {heading(group)}", describe(group), filled(_columns(group), 3)]
    return join([LEGEND, *parts])


def _ceilings(rows: Sequence[Row]) -> str:
    """What one run measured, with who reached it."""
    found: Ceilings = rows[0]["ceilings"]
    title = f"### Ceilings of the run {rows[0]['run']}"
    lines = [
        [each.device, each.precision, f"{each.flops_s / GIGA:.0f} GFLOP/s", clean(each.by), clean(each.shape)]
        for each in found.arithmetic
    ]
    lines += [[each.device, each.precision, ABSENT, clean(shorten(each.reason)), ""] for each in found.absent]
    memory, note = found.memory, clean(found.memory.note) if found.memory.note else ""
    by = f"{memory.threads} threads{f' ({note})' if note else ''}"
    size = f"{memory.buffer_bytes / 2**20:.0f} MiB"
    lines.append(["memory", "read", f"{memory.read_bytes_s / GIGA:.1f} GB/s", by, size])
    others = f"They were measured while others took {found.others:.1f} cores: a quiet machine may reach more."
    return join([title, markdown(("Of", "At", "Reached", "By", "On"), lines, left=2), others if found.others else ""])


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    return {
        "Model": [row["model"] for row in rows],
        "Target": [row["target"] for row in rows],
        "Precision": [" ".join((precision(row), *("≈" for mark in marks(row) if mark == "≈"))) for row in rows],
        "Work (GFLOP)": [fixed(row["flops"] / GIGA, 3) for row in rows],
        "Bytes (MB)": [fixed(row["bytes"] / MEGA) for row in rows],
        "Reached (GFLOP/s)": [fixed(row["reached_flops_s"] / GIGA, 1) for row in rows],
        "Bound": [row["bound"] or ABSENT for row in rows],
        "Of bound (%)": [fixed(row["bound_percent"], 1) for row in rows],
        "Verdict": [_verdict(row) if row["ceilings"] else ABSENT for row in rows],
    }


def _verdict(row: Row) -> str:
    """The word, or why there is none though ceilings were measured."""
    return row["verdict"] or "no ceiling of this device and precision"
