"""Accuracy against latency: which cells no other one beats in both, and a plot of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from clip_bench.plain import printable
from clip_bench.report.sheet import GREY, MOST_LABELS, Sheet, check, colour, drawing, logarithmic, marker

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

TOP1, COSINE = "top1_percent", "similarity_mean"  # what is good: the second where there is none of the first
DIGITS = {TOP1: 1, COSINE: 4}  # as tables have them: what no table shows is no difference
FRONT = "Pareto front; its cells are filled"
WORDS = 7.0  # points: the size of the words beside a cell
LETTER, LINE, SPOT = 0.058, 0.125, 0.06  # inches: a letter of them, a line, half of a marker with some room
HAIR = 0.01  # inches: half of a line's width
RINGS, NEAR = 9, 2  # places one above the other that the words of a cell on the front may take, and of another
MOST_WORDS = 60  # cells with words
INCH = 72  # points


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One cell: the milliseconds of a call, how good it is, its words, and the label that it shares with its like."""

    label: str
    words: str
    ms: float
    good: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What good means: a noun, the words of its axis, the least range of the axis, so that noise looks small, and its end."""

    noun: str
    words: str
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle on the panel, in inches."""

    left: float
    low: float
    right: float
    high: float

    def meets(self, other: _Box) -> bool:
        return self.left < other.right and other.left < self.right and self.low < other.high and other.low < self.high

    def holds(self, other: _Box) -> bool:
        return (
            self.left <= other.left and other.right <= self.right and self.low <= other.low and other.high <= self.high
        )


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of those (cost, gain) that no other one beats, the cheapest first.

    One beats another where it costs no more and gains no less, and is better in one of the two. Of equal ones all stay.
    """
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if not front or points[place][1] > points[front[-1]][1] or points[place] == points[front[-1]]:
            front.append(place)
    return front


def plot(subject: str, scale: Scale, spots: Sequence[Spot], order: Sequence[str]) -> list[str]:
    """What is accurate for its latency: every cell, and the line of those that no other one beats in both.

    *subject* begins the title; *order* has every label of a page, so that each looks alike in all of its plots. There
    are several plots where there are more labels than can be told apart; the front is that of all cells in each.

    Raises:
        UsageError: no cell, or a time that is not positive and finite.
    """
    used = {spot.label for spot in spots}
    labels = [label for label in order if label in used]
    check(subject, labels[:1], [spot.ms for spot in spots], MOST_LABELS)
    front = [spots[place] for place in pareto([(spot.ms, spot.good) for spot in spots])]
    parts = [labels[first : first + MOST_LABELS] for first in range(0, len(labels), MOST_LABELS)]
    return [
        _drawn(
            subject,
            scale,
            [spot for spot in spots if spot.label in part],
            front,
            {name: order.index(name) for name in part},
        )
        for part in parts
    ]


def _drawn(subject: str, scale: Scale, spots: Sequence[Spot], front: Sequence[Spot], looks: Mapping[str, int]) -> str:
    with drawing():
        sheet = Sheet(f"{subject}: what does {scale.noun} cost in latency?", [*looks, FRONT])
        axes = sheet.panel(0, "latency of one call, median (ms)", scale.words)
        logarithmic(axes, "x", [spot.ms for spot in (*spots, *front)], room=1.25)
        axes.set_ylim(_limits([spot.good for spot in (*spots, *front)], scale))
        axes.ticklabel_format(axis="y", useOffset=False)
        steps = _steps(front, axes.get_xlim()[1])
        line = axes.plot(*zip(*steps, strict=True), color=GREY, linewidth=1.2, zorder=2)
        handles: list[Artist] = [_marks(axes, spots, front, label, index) for label, index in looks.items()]
        _say(axes, spots, front, steps)
        return sheet.svg([*handles, *line])


def _marks(axes: Axes, spots: Sequence[Spot], front: Sequence[Spot], label: str, index: int) -> Artist:
    """Draw the cells of *label*, filled where they are on the front; one to stand in the legend."""
    look: dict[str, Any] = {
        "linestyle": "none",
        "marker": marker(index),
        "color": colour(index),
        "markersize": 6.0,
        "zorder": 3,
    }
    own = [spot for spot in spots if spot.label == label]
    for filled in (False, True):
        chosen = [spot for spot in own if (spot in front) is filled]
        xs, ys = [spot.ms for spot in chosen], [spot.good for spot in chosen]
        axes.plot(xs, ys, fillstyle="full" if filled else "none", **look)
    return axes.plot([], [], **look)[0]


def _steps(front: Sequence[Spot], end: float) -> list[tuple[float, float]]:
    """The corners of the line: what is reached within each time, up to *end*."""
    corners = [(front[0].ms, front[0].good)]
    for spot in front[1:]:
        corners += [(spot.ms, corners[-1][1]), (spot.ms, spot.good)]
    return [*corners, (end, corners[-1][1])]


def _limits(values: Sequence[float], scale: Scale) -> tuple[float, float]:
    """A range around *values* with room for words, no narrower than the scale's least, and hardly beyond its end."""
    low, high = min(values), max(values)
    span = max(scale.least, 1.3 * (high - low))
    top = min((low + high + span) / 2, scale.most + 0.08 * span)
    return top - span, top


def _say(axes: Axes, spots: Sequence[Spot], front: Sequence[Spot], steps: Sequence[tuple[float, float]]) -> None:
    """Put words beside each cell where there is room: near it, or above or below it, with a line to it if far.

    Those on the *front* choose first; one that finds no room is told by its marker alone.
    """
    spots = sorted(spots, key=lambda spot: (spot not in front, spot.ms, -spot.good))
    dpi = axes.figure.dpi
    corners = axes.transAxes.transform([(0, 0), (1, 1)]) / dpi
    panel = _Box(*(float(value) for corner in corners for value in corner))
    places = [(float(x), float(y)) for x, y in axes.transData.transform([(each.ms, each.good) for each in spots]) / dpi]
    line = [(float(x), float(y)) for x, y in axes.transData.transform(steps) / dpi]
    taken = [_Box(x - SPOT, y - SPOT, x + SPOT, y + SPOT) for x, y in places]
    taken += [_Box(one[0], one[1] - HAIR, two[0] + HAIR, two[1] + HAIR) for one, two in pairwise(line)]
    for spot, (x, y) in list(zip(spots, places, strict=True))[:MOST_WORDS]:
        words = printable(spot.words)
        for right, up, side in _offsets(RINGS if spot in front else NEAR):
            box = _box(x + right, y + up, LETTER * len(words), side)
            if panel.holds(box) and not any(box.meets(other) for other in taken):
                taken.append(box)
                far = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "alpha": 0.6, "shrinkA": 0, "shrinkB": 3}
                axes.annotate(
                    words, (spot.ms, spot.good), (INCH * right, INCH * up), textcoords="offset points",
                    fontsize=WORDS, va="center", ha=side, arrowprops=far if abs(up) > 2 * LINE else None,
                )  # fmt: skip
                break


def _offsets(rings: int) -> Iterator[tuple[float, float, str]]:
    """Where words may stand, in inches to the right and up, and the side at which they begin; the nearest first."""
    beside = SPOT + 0.03
    yield from ((beside, 0.0, "left"), (-beside, 0.0, "right"))
    for ring in range(1, rings + 1):
        for up in (ring * LINE + 0.02, -ring * LINE - 0.02):
            yield from ((0.0, up, "center"), (beside, up, "left"), (-beside, up, "right"))


def _box(x: float, y: float, width: float, side: str) -> _Box:
    left = {"left": x, "center": x - width / 2, "right": x - width}[side]
    return _Box(left, y - LINE / 2, left + width, y + LINE / 2)
