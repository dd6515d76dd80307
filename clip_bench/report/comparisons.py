"""A comparison as markdown, as JSON, and as what it fails."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from clip_bench.report.blocks import filled, join
from clip_bench.report.compare import Comparison, Pair, Verdict
from clip_bench.report.figures import ABSENT, clean, fixed, markdown, millis, points, times
from clip_bench.report.sides import Cell

HASHED = ("graph", "recipe", "reference")  # facts of which only a change is told
FAR = 10  # times as long: beyond, an interval tells nothing
LISTED = 12  # changed facts that are told one by one
LEGEND = (
    "A time is the median of the rounds over blocks of consecutive ones (of a load: the mean). *B / A* above 1 is slower; its "
    "interval (95 %, bootstrap over blocks) knows these rounds alone. A verdict asks that the whole interval lies beyond "
    "what controls stray: pairs of other runtimes that ran the same program twice, whose truth is 1. *Smallest seen*: the "
    "least slow-down that had an 80 % chance to be called. *Drift* is 1 - mean cosine to the FP32 reference."
)


def text(comparison: Comparison) -> str:
    """The tables of a comparison: what differs, the pairs with the most urgent first, and what cannot be paired."""
    pairs = sorted(comparison.pairs, key=lambda pair: list(Verdict).index(pair.verdict))
    parts = [
        f"## A: {clean(comparison.before)}, B: {clean(comparison.after)}",
        _tally(comparison),
        _differing(pairs),
        _controls(pairs),
    ]
    if pairs:
        parts += [filled(_columns(pairs), 2), _ended(pairs), LEGEND]
    if comparison.unpaired:
        lines = [[clean(name), clean(why)] for name, why in comparison.unpaired.items()]
        parts += ["### Not paired", markdown(("Cell", "Why"), lines, left=2)]
    return join(parts)


def data(comparison: Comparison) -> dict[str, Any]:
    """The same as JSON data: seconds, shares, None where there is none."""
    return {
        "before": comparison.before,
        "after": comparison.after,
        "pairs": [_pair(pair) for pair in comparison.pairs],
        "unpaired": dict(comparison.unpaired),
    }


def dumps(comparisons: Sequence[Comparison]) -> str:
    """All of them as one JSON text."""
    return json.dumps([data(each) for each in comparisons], indent=1, allow_nan=False) + "\n"


def changed(before: Cell, after: Cell) -> list[str]:
    """The facts that differ: 'onnxruntime 1.30.0 → 1.31.1'; of hashes, their name alone."""
    one, two = before.facts, after.facts
    names = [name for name in {**one, **two} if one.get(name) != two.get(name)]
    return [name if name in HASHED else f"{name} {one.get(name, 'none')} → {two.get(name, 'none')}" for name in names]


def slower(comparison: Comparison, limit: float) -> list[str]:
    """A line for each cell that is surely slower, by more than *limit* (a share), or has no time any more."""
    if not any(pair.change for pair in comparison.pairs):
        return [f"{comparison.after}: no cell has a time here and in {comparison.before}; nothing tells what is slower"]
    found = []
    for pair in comparison.pairs:
        if pair.verdict is Verdict.LOST:
            found.append(f"{pair.before.name}: no time any more ({pair.after.ended or 'not timed'})")
        elif pair.verdict is Verdict.SLOWER and pair.value is not None and pair.value > 1 + limit:
            found.append(f"{pair.before.name}: {100 * (pair.value - 1):.1f} % slower; {100 * limit:g} % is allowed")
    return [" ".join(line.split()) for line in found]


def drifted(comparison: Comparison, limit: float) -> list[str]:
    """A line for each cell whose outputs are farther from the reference by more than *limit*, in mean cosine."""
    if not any(pair.drifted is not None for pair in comparison.pairs):
        return [f"{comparison.after}: no cell has outputs here and in {comparison.before}; nothing tells what drifts"]
    return [
        f"{' '.join(pair.before.name.split())}: drift up by {pair.drifted:.2g}; {limit:g} is allowed"
        for pair in comparison.pairs
        if pair.drifted is not None and pair.drifted > limit
    ]


def blind(comparison: Comparison, limit: float) -> int:
    """How many pairs with times could not have shown a slow-down of *limit*."""
    timed = [pair for pair in comparison.pairs if pair.change is not None]
    return sum(pair.least is None or pair.least > limit for pair in timed)


def _tally(comparison: Comparison) -> str:
    counts = Counter(pair.verdict for pair in comparison.pairs)
    told = ", ".join(f"{counts[word]} {word}" for word in Verdict if counts[word])
    return f"{len(comparison.pairs)} pairs: {told or 'none'}; {len(comparison.unpaired)} not paired."


def _columns(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    return {
        "Cell": [clean(pair.before.name) for pair in pairs],
        "Verdict": [str(pair.verdict) for pair in pairs],
        "A (ms)": [millis(None if pair.change is None else 1e3 * pair.change.before_s) for pair in pairs],
        "B (ms)": [millis(None if pair.change is None else 1e3 * pair.change.after_s) for pair in pairs],
        "B / A": [times(pair.value) for pair in pairs],
        "95 % interval": [_span(pair) for pair in pairs],
        "Smallest seen (%)": [_least(pair) for pair in pairs],
        "Top-1 in A (%)": [fixed(None if pair.before.top1 is None else 100 * pair.before.top1, 1) for pair in pairs],
        "Change (points)": [_points(pair) for pair in pairs],
        "Drift in A": [_worst(pair.before.drift.values()) for pair in pairs],
        "Drift in B": [_worst(pair.after.drift.values()) for pair in pairs],
    }


def _span(pair: Pair) -> str:
    """The interval; an end that is no figure any more is told as far away."""
    ratio = pair.change.ratio if pair.change else None
    if ratio is None:
        return ABSENT
    low = fixed(ratio.low) if ratio.low * FAR >= 1 else f"≤ {fixed(1 / FAR)}"
    high = fixed(ratio.high) if ratio.high <= FAR else f"≥ {FAR}"
    return f"{low}\N{EN DASH}{high}"


def _least(pair: Pair) -> str:
    if pair.least is None:
        return ABSENT
    return fixed(100 * pair.least, 0) if pair.least <= FAR else f"≥ {100 * FAR}"


def _points(pair: Pair) -> str:
    if pair.before.top1 is None or pair.after.top1 is None:
        return ABSENT
    return points(100 * (pair.after.top1 - pair.before.top1))


def _worst(drifts: Iterable[float]) -> str:
    """The drift of the output that drifts most; no less than none."""
    found = max(drifts, default=None)
    return ABSENT if found is None else f"{max(found, 0):.1e}"


def _ended(pairs: Sequence[Pair]) -> str:
    """Why cells have a time on one side alone."""
    lines = []
    for pair in pairs:
        sides = (("A", pair.before), ("B", pair.after))
        lines += [f"- {pair.before.name} in {name}: {cell.ended}" for name, cell in sides if cell.ended]
    return "\n".join(clean(line) for line in lines)


def _differing(pairs: Sequence[Pair]) -> str:
    """The facts that differ, each with the number of pairs."""
    found: Counter[str] = Counter()
    for pair in pairs:
        found.update(map(clean, changed(pair.before, pair.after)))
    if not found:
        return "No difference in machine, software, options or graphs is recorded." if pairs else ""
    told = [f"- {fact} ({count} of {len(pairs)} pairs)" for fact, count in found.most_common(LISTED)]
    rest = len(found) - LISTED
    return "\n".join(["What differs:\n", *told, *([f"- and {rest} more"] if rest > 0 else [])])


def _controls(pairs: Sequence[Pair]) -> str:
    """What the controls say of each runtime's cells."""
    told = {pair.before.backend: pair.controls for pair in pairs if pair.change is not None and pair.before.backend}
    lines = [
        f"- {clean(backend)}: {found.count} controls, which stray by up to {100 * found.strays:.1f} %"
        if found.count
        else f"- {clean(backend)}: no control; run another runtime's cells on both sides to know what windows differ by"
        for backend, found in told.items()
    ]
    if not lines and any(pair.change for pair in pairs):
        return "No controls: what two windows on one machine differ by is not known here, and is often 10 %."
    return "\n".join(["Controls:\n", *lines]) if lines else ""


def _pair(pair: Pair) -> dict[str, Any]:
    change = pair.change
    ratio = change.ratio if change else None
    return {
        "cell": pair.before.name,
        "verdict": str(pair.verdict),
        "before_s": change.before_s if change else None,
        "after_s": change.after_s if change else None,
        "ratio": pair.value,
        "interval": [ratio.low, ratio.high] if ratio else None,
        "smallest_seen": pair.least,
        "controls": pair.controls.count,
        "controls_stray": pair.controls.strays if pair.controls.count else None,
        "top1": [pair.before.top1, pair.after.top1],
        "drift": [dict(pair.before.drift), dict(pair.after.drift)],
        "ended": [pair.before.ended or "ok", pair.after.ended or "ok"],
    }
