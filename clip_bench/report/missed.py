"""Cells that did not end ok, for a terminal: how many, why and which, those of one reason together."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd

from clip_bench.plain import printable
from clip_bench.record import Outcome
from clip_bench.report.holes import grouped

SHOWN = 12  # reasons: more would push the table off the screen
LONGEST = 300  # characters of a reason, or of the cells that it stopped
INDENT = "    "
Line = tuple[str, str]


def tally(ended: Sequence[str]) -> str:
    """How many cells ended how: '8 ok, 1 skipped of 9 planned'."""
    counts = {word: ended.count(word) for word in Outcome}
    told = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in counts.items() if count)
    return f"{told or 'none'} of {len(ended)} planned"


def missed(frame: pd.DataFrame, columns: int | None = None) -> list[Line]:
    """Lines, each with the outcome that it tells of: for each reason its cells; skips last, the commonest first.

    A cell is told as in :func:`~clip_bench.report.holes.holes`. Lines are wrapped at so many *columns*, or not at all.
    """
    groups = grouped(frame[frame["outcome"] != Outcome.OK])
    ordered = sorted(groups.items(), key=lambda each: (each[0][-2] == Outcome.SKIPPED, -each[1].cells))
    lines = []
    for (*_, outcome, reason), which in ordered[:SHOWN]:
        told = f"{which.cells} {outcome.replace('_', ' ')}: {_cut(reason)}"
        lines += [(outcome, line) for line in _wrapped(told, "", columns)]
        lines += [(outcome, line) for line in _wrapped(_cut(" ".join(which.words)), INDENT, columns)]
    if rest := ordered[SHOWN:]:
        cells = sum(which.cells for _, which in rest)
        outcome = rest[0][0][-2]
        lines.append((outcome, f"and {cells} cells for {len(rest)} other reasons: their lines are above"))
    return lines


def _cut(text: str) -> str:
    line = printable(text)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def _wrapped(text: str, indent: str, columns: int | None) -> list[str]:
    if columns is None:
        return [indent + text]
    return textwrap.wrap(
        text, columns - 1, initial_indent=indent, subsequent_indent=INDENT, break_on_hyphens=False
    ) or [""]
