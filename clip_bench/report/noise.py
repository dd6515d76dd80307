"""Which cells of a table are not stable, and why: a line for each below it."""

from __future__ import annotations

from collections.abc import Sequence

from clip_bench.report.columns import Row, cell

MARK = "≈"


def reasons(rows: Sequence[Row]) -> str:
    """The reasons of each cell that is marked, once; empty where all are stable."""
    told = dict.fromkeys(f"- {cell(row)}: {row['unstable']}" for row in rows if row["unstable"])
    return f"{MARK} not stable:\n\n" + "\n".join(told) if told else ""


def short(rows: Sequence[Row]) -> str:
    """What the mark means, where there is no room for reasons."""
    return (
        f"{MARK} not stable: the rounds or the machine; its page tells why." if any(r["unstable"] for r in rows) else ""
    )
