"""Plots as SVG text: plain data in, the same bytes out for the same data, no global state, no pyplot.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), without their yellow and black, which vanish on white
or on dark pages; the background is transparent, and words and lines are a grey that reads on both. Colours come back
with another line or marker. Text stays text; legends stand below the plot, one line or several for a long label.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clip_bench.errors import UsageError
from clip_bench.plain import printable
from clip_bench.record import Work
from clip_bench.timing.roofline import Ceiling

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#7a7a7a"  # 4.3 : 1 on white, 4.4 : 1 on GitHub's #0d1117
MOST_CURVES = 8  # more than eight are not told apart
MOST_LABELS = 24
WIDTH, PANEL = 8.0, 3.4  # inches
LEFT, RIGHT, AXIS, ROW = 0.95, 0.2, 0.52, 0.172  # inches: margins, the words below an axis, a line of words
TITLE, LINE, HALF_LINE = 72, 96, 40  # characters of a line of the title, of a legend's label, of one in two columns
FEW, MANY = 3, 9  # ticks of an axis
PROVEN = "a percentile that is proven"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "clip-bench",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": GREY,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A percentile that was proven: a *share* of all calls, in (0, 1), that take *seconds* or less."""

    share: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The seconds of each call of one cell, in any order."""

    label: str
    seconds: tuple[float, ...]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What one cell takes at each batch: pairs of samples per call and seconds per call."""

    label: str
    points: tuple[tuple[int, float], ...]


Stage = tuple[int, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one cell does with so many requests under way: these, seconds of each, and samples per second of all."""

    label: str
    points: tuple[Stage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """A ceiling to draw, such as that of one precision."""

    label: str
    ceiling: Ceiling


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One cell's work and the seconds of a call; points of one label look alike."""

    label: str
    work: Work
    seconds: float


def latencies(subject: str, curves: Sequence[Curve]) -> str:
    """How the latency of each cell is distributed: the share of its calls that ended within a time.

    *subject* is what was called, such as a tower of a model; it begins the title.

    Raises:
        UsageError: no curve, more than :data:`MOST_CURVES`, a time that is not positive and finite, or a mark's share
            outside (0, 1).
    """
    marks = [mark for curve in curves for mark in curve.marks]
    times = [second for curve in curves for second in curve.seconds] + [mark.seconds for mark in marks]
    labels = [curve.label for curve in curves]
    shares = [share for mark in marks for share in (mark.share, 1 - mark.share)]
    check(subject, labels, [*times, *shares, *(float(len(curve.seconds)) for curve in curves)], MOST_CURVES)
    shown = [*labels, *([PROVEN] if marks else [])]
    with drawing():
        sheet = Sheet(f"{subject}: which share of calls ends within which time?", shown)
        axes = sheet.panel(0, "latency of one call (ms)", "calls that have ended (%)")
        logarithmic(axes, "x", [1e3 * time for time in times])
        axes.set_ylim(0, 102)
        handles = [_climb(axes, curve, index) for index, curve in enumerate(curves)]
        if marks:
            handles += axes.plot([], [], marker="o", color=GREY, linestyle="none")
        return sheet.svg(handles)


def batches(subject: str, series: Sequence[Series]) -> str:
    """What a larger batch costs in latency, above, and brings in throughput, below.

    Raises:
        UsageError: no series, more than :data:`MOST_CURVES`, one without points, or a number that is not positive.
    """
    loads = [
        Load(label=each.label, points=tuple((batch, s, batch / s if s else 0.0) for batch, s in each.points))
        for each in series
    ]
    title = f"{subject}: what does a larger batch cost, and what does it bring?"
    return _balance(subject, title, ("batch (samples in one call)", "latency of one call (ms)"), loads)


def queues(subject: str, loads: Sequence[Load]) -> str:
    """What more requests under way cost in the latency of each, above, and bring in throughput, below.

    Raises:
        UsageError: no load, more than :data:`MOST_CURVES`, one without points, or a number that is not positive.
    """
    title = f"{subject}: what do more requests at once cost, and what do they bring?"
    words = "requests under way (executed, and waiting)", "latency of one request (ms)"
    return _balance(subject, title, words, loads)


def convergence(subject: str, panels: Mapping[str, Sequence[Curve]]) -> str:
    """What a document takes in each batch from the first on: a panel for each kind of documents, by its name.

    The curves' seconds are in their order; every panel has curves of the same labels.

    Raises:
        UsageError: no curve, more than :data:`MOST_CURVES`, one without seconds, or a number that is not positive.
    """
    curves = [curve for several in panels.values() for curve in several]
    labels = list(dict.fromkeys(curve.label for curve in curves))
    seconds = [second for curve in curves for second in curve.seconds]
    check(subject, labels, [*seconds, *(float(len(curve.seconds)) for curve in curves)], MOST_CURVES)
    longest = max(len(curve.seconds) for curve in curves)
    with drawing():
        sheet = Sheet(f"{subject}: after how many batches is a document's time steady?", labels, panels=len(panels))
        handles: dict[str, Artist] = {}
        for place, (kind, several) in enumerate(panels.items()):
            words = "batch, from the first on" if place == len(panels) - 1 else ""
            axes = sheet.panel(place, words, f"{kind}: time per document (ms)")
            logarithmic(axes, "y", [1e3 * second for curve in several for second in curve.seconds])
            logarithmic(axes, "x", [1, longest])
            for curve in several:
                index = labels.index(curve.label)
                heights = [1e3 * second for second in curve.seconds]
                places = range(1, len(heights) + 1)
                (line,) = axes.plot(places, heights, color=colour(index), linestyle=_dash(index))
                line.set(marker=marker(index), markersize=3.5, linewidth=1.2)
                handles[curve.label] = line
        return sheet.svg([handles[label] for label in labels])


def roofline(subject: str, roofs: Sequence[Roof], points: Sequence[Point]) -> str:
    """What each cell reaches, by the FLOPs that it has for each byte, below the roofs of its machine.

    The slope of a roof is its bandwidth, its flat part its FLOP/s; one whose bandwidth is not told is flat throughout.

    Raises:
        UsageError: no point, more than :data:`MOST_LABELS` labels or four roofs, or a time or work that is not
            positive and finite.
    """
    labels = list(dict.fromkeys(point.label for point in points))
    told = [number for point in points for number in (point.seconds, point.work.flops, point.work.bytes)]
    check(subject, labels, told, MOST_LABELS)
    check(subject, [roof.label for roof in roofs] or labels[:1], [], len(DASHES))
    spots = {label: [_spot(point) for point in points if point.label == label] for label in labels}
    ridges = [roof.ceiling.flops_s / roof.ceiling.bytes_s for roof in roofs if math.isfinite(roof.ceiling.bytes_s)]
    xs = [x for several in spots.values() for x, _ in several] + ridges
    tops = [roof.ceiling.flops_s / 1e9 for roof in roofs]
    with drawing():
        names = [*labels, *(roof.label for roof in roofs)]
        sheet = Sheet(f"{subject}: how much of the machine is used, and what bounds it?", names)
        axes = sheet.panel(0, "arithmetic intensity (FLOP per byte)", "reached (GFLOP/s)")
        logarithmic(axes, "x", xs, room=1.6)
        logarithmic(axes, "y", [y for several in spots.values() for _, y in several] + tops, room=1.6)
        handles: list[Artist] = []
        for index, label in enumerate(labels):
            x, y = zip(*spots[label], strict=True)
            handles += axes.plot(x, y, linestyle="none", marker=marker(index), color=colour(index), zorder=3)
        for index, roof in enumerate(roofs):
            handles += axes.plot(*_outline(roof.ceiling, axes.get_xlim()), color=GREY, linestyle=_dash(index, 1))
        return sheet.svg(handles)


class Sheet:
    """A figure with a title above its panels and a legend below them, all of a size that its words need."""

    def __init__(self, title: str, labels: Sequence[str], panels: int = 1, tall: float = PANEL) -> None:
        from matplotlib.figure import Figure

        self.title = textwrap.wrap(printable(title), TITLE, break_on_hyphens=False)
        self.labels = [textwrap.wrap(printable(label), LINE, break_on_hyphens=False) or ["-"] for label in labels]
        widest = max((len(line) for label in self.labels for line in label), default=0)
        self.columns = 1 if widest > HALF_LINE else 2
        rows = sum(map(len, self.labels)) if self.columns == 1 else math.ceil(len(labels) / 2)
        self.head, self.tall = 0.2 * len(self.title) + 0.15, tall
        self.height = self.head + panels * (tall + AXIS) + ROW * rows + 0.1
        self.figure: Figure = Figure(figsize=(WIDTH, self.height))

    def panel(self, index: int, x: str, y: str, span: tuple[float, float] = (LEFT, WIDTH - RIGHT)) -> Axes:
        """Axes number *index* from above, with words for both, between two places in inches from the left."""
        bottom = self.height - self.head - (index + 1) * self.tall - index * AXIS
        left, right = span
        box = (left / WIDTH, bottom / self.height, (right - left) / WIDTH, self.tall / self.height)
        return self.figure.add_axes(box, facecolor="none", xlabel=x, ylabel=y)

    def svg(self, handles: Sequence[Artist]) -> str:
        """The finished figure; *handles* stand for the labels, in their order."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        self.figure.patch.set_alpha(0)
        legend = self.figure.legend(
            handles,
            [
                str(index) for index in range(len(self.labels))
            ],  # matplotlib leaves out those that begin with an underscore
            loc="lower left",
            bbox_to_anchor=(LEFT / WIDTH, 0.0),
            ncols=self.columns,
            frameon=False,
            borderaxespad=0.0,
            handlelength=3.0,
            labelspacing=0.35,
        )
        for text, label in zip(legend.get_texts(), self.labels, strict=True):
            text.set_text("\n".join(label))
        title = {"va": "top", "fontsize": 10.5, "fontweight": "bold"}
        self.figure.text(LEFT / WIDTH, 1 - 0.08 / self.height, "\n".join(self.title), fontdict=title)
        drawn, told = io.StringIO(), {"Title": " ".join(self.title), "Date": None, "Creator": None}
        FigureCanvasSVG(self.figure).print_svg(drawn, metadata=told)  # type: ignore[no-untyped-call]  # matplotlib's backends have no types
        return drawn.getvalue()


@contextmanager
def drawing() -> Iterator[None]:
    """Our style over matplotlib's own, whatever the user's, and theirs back afterwards."""
    from matplotlib import rc_context, style

    with warnings.catch_warnings(), style.context("default"), rc_context(STYLE):
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's fonts draw the words, not ours
        yield


def check(subject: str, labels: Sequence[str], numbers: Iterable[float], most: int) -> None:
    """Refuse what cannot be drawn.

    Raises:
        UsageError: no label, more than *most*, or one of *numbers* that is not positive and finite.
    """
    if not labels:
        msg = f"{subject}: nothing to draw; a plot needs at least one measured cell"
        raise UsageError(msg)
    if len(labels) > most:
        msg = f"{subject}: {len(labels)} labels, and {most} can be told apart; draw several plots"
        raise UsageError(msg)
    if not all(math.isfinite(number) and number > 0 for number in numbers):
        msg = (
            f"{subject}: a plot needs positive, finite numbers, and some of each cell: leave out what was not measured"
        )
        raise UsageError(msg)


def _balance(subject: str, title: str, words: tuple[str, str], loads: Sequence[Load]) -> str:
    """The seconds of *loads*, above, and their samples per second, below, over one axis; *words* for it and the first."""
    stages = [stage for load in loads for stage in load.points]
    labels = [load.label for load in loads]
    numbers = [*(float(number) for stage in stages for number in stage), *(float(len(load.points)) for load in loads)]
    check(subject, labels, numbers, MOST_CURVES)
    with drawing():
        sheet = Sheet(title, labels, panels=2)
        panels = sheet.panel(0, "", words[1]), sheet.panel(1, words[0], "throughput (samples/s)")
        for axes, values in zip(panels, ([1e3 * s for _, s, _ in stages], [rate for *_, rate in stages]), strict=True):
            logarithmic(axes, "y", values)
            _powers(axes, [size for size, *_ in stages])
        handles: list[Artist] = []
        for index, load in enumerate(loads):
            sizes, seconds, rates = zip(*sorted(load.points), strict=True)
            for axes, heights in zip(panels, ([1e3 * second for second in seconds], rates), strict=True):
                (line,) = axes.plot(sizes, heights, color=colour(index), linestyle=_dash(index))
                line.set(marker=marker(index), markersize=4.5)
            handles.append(line)
        return sheet.svg(handles)


def _climb(axes: Axes, curve: Curve, index: int) -> Artist:
    """Draw a curve from its fastest call to its slowest, and its marks."""
    rising = sorted(1e3 * second for second in curve.seconds)
    shares = [100 * rank / len(rising) for rank in range(len(rising) + 1)]
    line = axes.plot([rising[0], *rising], shares, drawstyle="steps-post", color=colour(index), linestyle=_dash(index))
    for mark in curve.marks:
        axes.plot([1e3 * mark.seconds], [100 * mark.share], marker="o", color=colour(index), linestyle="none")
    return line[0]


def _spot(point: Point) -> tuple[float, float]:
    """FLOP per byte, and GFLOP/s."""
    return point.work.flops / point.work.bytes, point.work.flops / point.seconds / 1e9


def _outline(ceiling: Ceiling, limits: tuple[float, float]) -> tuple[list[float], list[float]]:
    """The corners of a roof between *limits*, in FLOP per byte and GFLOP/s."""
    low, high = limits
    ridge = ceiling.flops_s / ceiling.bytes_s
    xs = [low, ridge, high] if low < ridge < high else [low, high]
    return xs, [min(ceiling.flops_s, x * ceiling.bytes_s) / 1e9 if x < ridge else ceiling.flops_s / 1e9 for x in xs]


def logarithmic(axes: Axes, side: Literal["x", "y"], values: Sequence[float], room: float = 1.02) -> None:
    """A logarithmic axis around *values*, with a few round ticks however narrow it is."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    room = max(room, (max(values) / min(values)) ** 0.05)
    low, high = min(values) / room, max(values) * room
    axes.set(**{f"{side}scale": "log", f"{side}lim": (low, high)})
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(_ticks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))


def _ticks(low: float, high: float) -> list[float]:
    """Three to nine round numbers in [low, high], or powers of ten where it spans more than those."""
    from matplotlib.ticker import MaxNLocator

    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if FEW <= len(inside) <= MANY:
            return inside
    if len(powers) > FEW:
        return inside[:: 1 + len(inside) // MANY]
    even = MaxNLocator(nbins=6, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in even if low <= tick <= high]


def _powers(axes: Axes, sizes: Sequence[int]) -> None:
    """A logarithmic axis of batches, whose ticks are the batches that were measured."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    ticks = sorted(set(sizes))
    axes.set(xscale="log", xlim=(ticks[0] / 1.15, ticks[-1] * 1.15))
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FixedFormatter([str(tick) for tick in ticks]))


def colour(index: int) -> str:
    """The colour of label number *index*."""
    return COLOURS[index % len(COLOURS)]


def _dash(index: int, alike: int = len(COLOURS)) -> str:
    return DASHES[index // alike % len(DASHES)]


def marker(index: int) -> str:
    """The marker of label number *index*; the two come back together after 42 labels."""
    return MARKERS[index % len(MARKERS)]
