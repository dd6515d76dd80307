"""Plots as SVG text: plain data in, the same bytes out for the same data, no global state, no pyplot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clip_bench.record import Work
from clip_bench.report.sheet import (
    DASHES,
    GREY,
    MOST_CURVES,
    MOST_LABELS,
    Sheet,
    check,
    colour,
    dash,
    drawing,
    logarithmic,
    marker,
    powers,
)
from clip_bench.timing.roofline import Ceiling

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

PROVEN = "a percentile that is proven"


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
                (line,) = axes.plot(places, heights, color=colour(index), linestyle=dash(index))
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
            handles += axes.plot(*_outline(roof.ceiling, axes.get_xlim()), color=GREY, linestyle=dash(index, 1))
        return sheet.svg(handles)


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
            powers(axes, [size for size, *_ in stages])
        handles: list[Artist] = []
        for index, load in enumerate(loads):
            sizes, seconds, rates = zip(*sorted(load.points), strict=True)
            for axes, heights in zip(panels, ([1e3 * second for second in seconds], rates), strict=True):
                (line,) = axes.plot(sizes, heights, color=colour(index), linestyle=dash(index))
                line.set(marker=marker(index), markersize=4.5)
            handles.append(line)
        return sheet.svg(handles)


def _climb(axes: Axes, curve: Curve, index: int) -> Artist:
    """Draw a curve from its fastest call to its slowest, and its marks."""
    rising = sorted(1e3 * second for second in curve.seconds)
    shares = [100 * rank / len(rising) for rank in range(len(rising) + 1)]
    line = axes.plot([rising[0], *rising], shares, drawstyle="steps-post", color=colour(index), linestyle=dash(index))
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
