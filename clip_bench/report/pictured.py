"""A picture with the scores of its labels beside it, as bars: which label fits?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from clip_bench.errors import UsageError
from clip_bench.plain import printable
from clip_bench.report import sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
MOST = 12  # pictures in one plot
SIDE = 480  # pixels of a picture at most
WIDTH, ROW, LINE, HEAD, FOOT = 8.0, 2.2, 0.24, 0.45, 0.5  # inches
DPI = 150
LONGEST = 32  # characters of a label


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A picture and its labels with their scores, the best first."""

    name: str
    path: Path
    best: Sequence[tuple[str, float]]


def write(path: Path, cell: str, several: Sequence[Scored]) -> None:
    """Draw *several* pictures, a row for each, as scored by *cell*, to an SVG or PNG file.

    Raises:
        UsageError: as :func:`check`, or the file cannot be written.
    """
    check(path, len(several))
    from matplotlib import rc_context, style

    try:
        with warnings.catch_warnings(), style.context("default"), rc_context(sheet.STYLE):
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            figure, question = _drawn(cell, several)
            told = {"Title": question, **({"Date": None, "Creator": None} if path.suffix.lower() == ".svg" else {})}
            figure.savefig(path, transparent=True, metadata=told, dpi=DPI)
    except OSError as exc:
        msg = f"--plot {path}: {exc.strerror or exc}; name a file in a folder that can be written"
        raise UsageError(msg) from exc


def check(path: Path, pictures: int) -> None:
    """Whether a plot of so many pictures can be called *path*.

    Raises:
        UsageError: another kind of file, no picture, or more than :data:`MOST`.
    """
    if path.suffix.lower() not in SUFFIXES:
        msg = f"--plot {path}: a name that ends in .svg or .png"
        raise UsageError(msg)
    if not 0 < pictures <= MOST:
        msg = f"--plot {path}: {pictures} pictures; a plot takes 1 to {MOST}"
        raise UsageError(msg)


def _drawn(cell: str, several: Sequence[Scored]) -> tuple[Figure, str]:
    from matplotlib.figure import Figure

    heights = [max(ROW, LINE * len(each.best) + FOOT) for each in several]
    height = HEAD + sum(heights) + FOOT
    figure = Figure(figsize=(WIDTH, height))
    names = several[0].name if len(several) == 1 else f"{len(several)} pictures"
    question = f"{printable(names)}: which label fits, says {cell}?"
    figure.text(0.02, 1 - 0.1 / height, question, va="top", fontsize=10.5, fontweight="bold")
    top = height - HEAD
    for each, own in zip(several, heights, strict=True):
        bottom = top - own
        shown = figure.add_axes((0.02, (bottom + 0.15) / height, 0.36, (own - 0.2) / height), frameon=False)
        shown.imshow(_small(each.path))
        shown.set(xticks=[], yticks=[])
        shown.grid(visible=False)
        if len(several) > 1:
            shown.set_title(printable(each.name), fontsize=8)
        bars = figure.add_axes((0.62, (bottom + 0.15) / height, 0.33, (own - 0.2) / height), facecolor="none")
        labels, scores = zip(*each.best, strict=True)
        places = range(len(labels))
        bars.barh(places, scores, color=sheet.COLOURS[0], height=0.62)
        bars.set(xlim=(0, 1.0), ylim=(len(labels) - 0.4, -0.6), yticks=list(places))
        bars.set_yticklabels([_brief(label) for label in labels])
        bars.grid(visible=False, axis="y")
        bars.tick_params(labelbottom=each is several[-1])
        for place, score in zip(places, scores, strict=True):
            left = score < 0.8  # noqa: PLR2004  room for the figure right of the bar
            bars.text(
                score + (0.01 if left else -0.01), place, f"{score:.4g}", va="center",
                ha="left" if left else "right", color=sheet.GREY if left else "white", fontsize=8,
            )  # fmt: skip
        top = bottom
    bars.set_xlabel("score: softmax over these labels")
    return figure, question


def _small(path: Path) -> Image.Image:
    """In colour on white, no larger than it is shown."""
    with Image.open(path) as picture:
        small = picture.convert("RGBA")
    small.thumbnail((SIDE, SIDE))
    white = Image.new("RGBA", small.size, "white")
    return Image.alpha_composite(white, small).convert("RGB")


def _brief(label: str) -> str:
    shown = printable(label)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
