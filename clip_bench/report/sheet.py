"""The sheet that plots are drawn on: its colours and lines, words, axes and legend, and SVG text at the end.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), without their yellow and black, which vanish on white
or on dark pages; the background is transparent, and words and lines are a grey that reads on both. Colours come back
with another line or marker. Text stays text; legends stand below the plot, one line or several for a long label.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from clip_bench.errors import UsageError
from clip_bench.plain import printable

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
        numbers = [
            str(index) for index in range(len(self.labels))
        ]  # a label with an underscore first would be left out
        legend = self.figure.legend(
            handles,
            numbers,
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


def powers(axes: Axes, sizes: Sequence[int]) -> None:
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


def dash(index: int, alike: int = len(COLOURS)) -> str:
    """The line of label number *index*, of which *alike* in turn have one: those that differ in colour."""
    return DASHES[index // alike % len(DASHES)]


def marker(index: int) -> str:
    """The marker of label number *index*; the two come back together after 42 labels."""
    return MARKERS[index % len(MARKERS)]
