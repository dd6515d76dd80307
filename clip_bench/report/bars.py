"""Bars: one for each cell, in parts that are told apart by colour, in one column or in several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clip_bench.plain import printable
from clip_bench.report.sheet import GREY, MOST_LABELS, WIDTH, check, drawing
from clip_bench.report.strips import strips

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

TALL, THICK = 0.26, 0.16  # inches of a bar with the room around it, and without
MOST_ROOM = 0.8  # of an axis that words may take
LETTER, SIZE = 0.062, 7.5  # inches of a letter of the words at a bar's end, points of them
INCH = 72  # points


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One cell: in each column its parts, by name, and the words at its end."""

    label: str
    parts: tuple[Mapping[str, float], ...]
    words: tuple[str, ...]


def stacked(title: str, columns: Sequence[str], looks: Mapping[str, str], bars: Sequence[Bar]) -> str:
    """Bars whose parts follow each other in the order of *looks*, their colours; *columns* are the words below each.

    Raises:
        UsageError: no bar, more than :data:`MOST_LABELS`, or a part that is negative or not finite.
    """
    parts = [each for bar in bars for each in bar.parts]
    labels = [bar.label for bar in bars]
    check(title, labels, [value for part in parts for value in part.values() if value != 0], MOST_LABELS)
    used = [name for name in looks if any(part.get(name) for part in parts)]
    with drawing():
        from matplotlib.patches import Patch

        made = strips(title, used, labels, columns, TALL)
        middles = [(top + end) / 2 for top, end in made.edges]
        for place, axes in enumerate(made.columns):
            words = [printable(bar.words[place]) for bar in bars]
            _column(axes, middles, [bar.parts[place] for bar in bars], words, looks)
        return made.sheet.svg([Patch(facecolor=looks[name]) for name in used])


def _column(
    axes: Axes,
    middles: Sequence[float],
    parts: Sequence[Mapping[str, float]],
    words: Sequence[str],
    looks: Mapping[str, str],
) -> None:
    """Every bar of one column, around its place of *middles*, on an axis with room for its words."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    wide = axes.get_position().width * WIDTH
    room = [min((LETTER * len(said) + 0.1) / wide, MOST_ROOM) for said in words]
    totals = [sum(part.values()) for part in parts]
    axes.set_xlim(0, max(total / (1 - share) for total, share in zip(totals, room, strict=True)) or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(2, int(wide / 0.6)), steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))
    ends = [0.0] * len(parts)
    for name in looks:
        boxes = []
        for place, part in enumerate(parts):
            if part.get(name):
                boxes.append(_box(ends[place], ends[place] + part[name], middles[place]))
                ends[place] += part[name]
        if boxes:
            axes.add_patch(PathPatch(Path.make_compound_path(*boxes), facecolor=looks[name], linewidth=0))
    for middle, end, said in zip(middles, ends, words, strict=True):
        axes.annotate(
            said,
            (end, middle),
            xytext=(0.05 * INCH, 0),
            textcoords="offset points",
            va="center",
            fontsize=SIZE,
            color=GREY,
        )


def _box(left: float, right: float, middle: float) -> Path:
    from matplotlib.path import Path

    low, high = middle - THICK / 2, middle + THICK / 2
    corners = [(left, low), (right, low), (right, high), (left, high), (left, low)]
    return Path(corners, [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY])
