"""How far each sample of each cell is from the FP32 reference, beside what the reference drifts from itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UsageError
from clip_bench.quality import values
from clip_bench.quality.gates import FLOORS
from clip_bench.record import Compared, Record
from clip_bench.report.blocks import evenly
from clip_bench.report.columns import Row, label
from clip_bench.report.sheet import COLOURS, GREY, check, drawing, logarithmic
from clip_bench.report.strips import strips

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

MOST = 2.0  # of vectors that point away from each other
LEAST = 1e-16  # what is nearer stands here: a logarithm has no zero, and float64 resolves no less
BINS = 8  # of a decade
MOST_STRIPS = 12
TALL, HIGH = 0.36, 0.3  # inches of a strip, and of its highest bin
SAMPLES, FAILED, OWN = (
    "samples, by their distance",
    "samples of a cell that failed its gate",
    "the reference's own noise; dashed: mean",
)
MEAN, LIMIT, WORST = "mean", "gate: the mean lies left of it", "gate: every sample lies left of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The distances of one cell's samples, the reference's own noise, and what the gate allows of the mean and of each."""

    label: str
    drifts: Floats
    noise: float
    limits: tuple[float, float] | None
    look: str


def pictures(subject: str, rows: Sequence[Row]) -> list[str]:
    """A histogram for each cell whose record holds its samples, the nearest first, below that of the reference itself.

    Raises:
        UsageError: a record's samples are no numbers.
    """
    found = [(row, outputs[0]) for row in rows if (outputs := _outputs(row))]
    if not found:
        return []
    several = sorted((_strip(row, *worst) for row, worst in found), key=lambda strip: float(strip.drifts.mean()))
    first = _reference(found[0][1][0])
    return [plot(subject, [*first, *part]) for part in evenly(several, MOST_STRIPS)]


def distances(row: Row) -> list[dict[str, str | float]]:
    """Of each output whose samples the record holds, in short: 1 - cosine of the nearest, the mean, the farthest; the noise.

    Raises:
        UsageError: its samples are no numbers.
    """
    return [
        {
            "output": each.output,
            "nearest": float(drifts.min()),
            "mean": float(drifts.mean()),
            "farthest": float(drifts.max()),
            "noise": _noise(each),
        }
        for each, drifts in _outputs(row)
    ]


def plot(subject: str, several: Sequence[Strip]) -> str:
    """Histograms over one logarithmic axis.

    Raises:
        UsageError: no strip, too many, or a distance that is not finite.
    """
    drawn = [np.clip(strip.drifts, LEAST, MOST) for strip in several]
    limits = [limit for strip in several for limit in (strip.noise, *(strip.limits or ()))]
    numbers = [min(max(each, LEAST), MOST) for each in limits]
    check(
        subject,
        [strip.label for strip in several],
        [*np.concatenate(drawn or [np.zeros(1)]), *numbers],
        MOST_STRIPS + 1,
    )
    looks = {OWN: GREY, SAMPLES: COLOURS[0], FAILED: COLOURS[4]}
    used = [name for name in looks if any(strip.look == name for strip in several)]
    lines: dict[str, dict[str, Any]] = {
        MEAN: {"marker": "o", "linestyle": "none", "markersize": 4, "color": GREY, "markeredgecolor": "white"},
        LIMIT: {"linestyle": "-", "linewidth": 2.2, "color": COLOURS[1]},
        WORST: {"linestyle": ":", "linewidth": 2.2, "color": COLOURS[1]},
    }
    with drawing():
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        title = f"{subject}: how far is each sample from the reference?"
        near = any((strip.drifts < LEAST).any() for strip in several)
        words = "1 - cosine to the reference" + (f"; what is nearer stands at {LEAST:g}" if near else "")
        made = strips(title, [*used, *lines], [strip.label for strip in several], [words], TALL)
        (axes,) = made.columns
        logarithmic(
            axes, "x", [*(float(bound) for each in drawn for bound in (each.min(), each.max())), *numbers], room=1.6
        )
        for (top, end), strip, drifts in zip(made.edges, several, drawn, strict=True):
            _histogram(axes, end, drifts, looks[strip.look])
            axes.plot([drifts.mean()], [(top + end) / 2], **lines[MEAN])
            for x, name in zip(strip.limits or (), (LIMIT, WORST), strict=False):
                axes.plot([x, x], [end - HIGH, end], **lines[name])
        noise = max(LEAST, *(strip.noise for strip in several))
        axes.axvline(noise, color=GREY, linewidth=1, linestyle="--")
        handles: list[Artist] = [Patch(facecolor=looks[name]) for name in used]
        handles += [Line2D([], [], **look) for look in lines.values()]
        return made.sheet.svg(handles)


def _histogram(axes: Axes, end: float, drifts: Floats, look: str) -> None:
    """The share of samples in each bin that has some, as high as the fullest allows."""
    logs = np.log10(drifts)
    low, high = np.floor(BINS * logs.min()), np.floor(BINS * logs.max()) + 1
    counts, edges = np.histogram(logs, np.arange(low, high + 1) / BINS)
    axes.stairs(end - HIGH * counts / counts.max(), 10**edges, baseline=end, fill=True, color=look, linewidth=0)


def _strip(row: Row, worst: Compared, drifts: Floats) -> Strip:
    floors = FLOORS.get(row["precision"])
    return Strip(
        label=label(row),
        drifts=drifts,
        noise=_noise(worst),
        limits=(1 - floors.mean, 1 - floors.minimum) if floors else None,
        look=FAILED if row["failures"] else SAMPLES,
    )


def _noise(each: Compared) -> float:
    """The reference's drift from itself, in the way that moves it most."""
    ways = [_finite(floor) for floor in each.floor.values()]
    return max((float(drifts.mean()) for drifts in ways if drifts.size), default=0.0)


def _reference(cell: Compared) -> list[Strip]:
    """The reference computed another way, in the way that moves it most."""
    ways = {way: _finite(floor) for way, floor in cell.floor.items()}
    named = {"again": "computed again", "batch": "in another batch", "threads": "with other threads"}
    if not any(drifts.size for drifts in ways.values()):
        return []
    way = max((way for way in ways if ways[way].size), key=lambda way: float(ways[way].mean()))
    drifts = ways[way]
    told = f"reference, {named.get(way, way)}"
    return [Strip(label=told, drifts=drifts, noise=float(drifts.mean()), limits=None, look=OWN)]


def _outputs(row: Row) -> list[tuple[Compared, Floats]]:
    """The outputs whose samples the record holds, that which is farthest from the reference first."""
    record: Record = row["record"]
    try:
        told = [(each, _finite(each.drift)) for each in record.quality.compared] if record.quality else []
        for each, _ in told:
            _noise(each)
    except UsageError as exc:
        msg = f"{row['run']}: {row['case']}: {exc}"
        raise UsageError(msg) from exc
    return sorted(((each, drifts) for each, drifts in told if drifts.size), key=lambda pair: -float(pair[1].mean()))


def _finite(text: str) -> Floats:
    numbers = values.read(text)
    return np.clip(numbers[np.isfinite(numbers)], -MOST, MOST)
