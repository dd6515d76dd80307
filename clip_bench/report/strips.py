"""Cells one below the other: the label of each at the left, and a strip of the picture beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from clip_bench.plain import printable
from clip_bench.report.sheet import RIGHT, WIDTH, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDEST, LONGEST = 34, 3  # letters of a line of a label, lines of it
LETTER, LINE, GAP = 0.072, 0.15, 0.3  # inches: a letter of a label, a line of it, the room between two columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Strips:
    """A sheet, the axes of its columns, and where the strips begin and end on them, in inches from above."""

    sheet: Sheet
    columns: tuple[Axes, ...]
    edges: tuple[tuple[float, float], ...]


def strips(title: str, legend: Sequence[str], labels: Sequence[str], columns: Sequence[str], tall: float) -> Strips:
    """A strip for each of *labels*, through *columns*, by the words below each; *tall* inches high, or as its label needs."""
    told = [_lines(label) for label in labels]
    ends = list(accumulate(max(tall, LINE * len(lines) + 0.08) for lines in told))
    edges = tuple(pairwise([0.0, *ends]))
    left = LETTER * max(len(line) for lines in told for line in lines) + 0.2
    wide = (WIDTH - left - RIGHT + GAP) / len(columns) - GAP
    sheet = Sheet(title, legend, tall=ends[-1])
    panels = []
    for place, words in enumerate(columns):
        begin = left + place * (wide + GAP)
        axes = sheet.panel(0, words, "", (begin, begin + wide))
        named = place == 0
        axes.set(ylim=(ends[-1], 0), yticks=[(top + end) / 2 for top, end in edges] if named else [])
        axes.set_yticklabels(["\n".join(lines) for lines in told] if named else [])
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        panels.append(axes)
    return Strips(sheet=sheet, columns=tuple(panels), edges=edges)


def _lines(label: str) -> list[str]:
    """*label* in a few lines; the end of a very long one is left out."""
    return textwrap.wrap(printable(label), WIDEST, max_lines=LONGEST, placeholder=" …", break_on_hyphens=False) or ["-"]
