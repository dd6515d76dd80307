"""What comes before the first steady call of each cell, as bars: the artifact is made once, the rest at each start."""

from __future__ import annotations

from collections.abc import Sequence

from clip_bench.record import Cold
from clip_bench.report import platforms
from clip_bench.report.bars import Bar, stacked
from clip_bench.report.blocks import evenly
from clip_bench.report.cold import OWN, WORDS, word
from clip_bench.report.columns import Row, label
from clip_bench.report.sheet import COLOURS, GREY, MOST_LABELS

ONCE = ("Export", "Convert", "Quantize")
CALLS = "Calls until steady, as far as recorded"
LOOKS = {**dict(zip(WORDS, COLOURS, strict=False)), OWN["first"]: COLOURS[5], CALLS: GREY}
COLUMNS = ("once, to make the artifact (s)", "at each start (s)")


def pictures(subject: str, rows: Sequence[Row]) -> list[str]:
    """The seconds of each step, of the cells that were loaded on hardware and whose record tells the steps."""
    bars = [
        _bar(label(row), row["record"].cold)
        for row in rows
        if row["device"] not in platforms.NOT_HARDWARE and row["record"].cold and row["record"].cold.steps
    ]
    title = f"{subject}: what comes before the first steady call?"
    return [stacked(title, COLUMNS, LOOKS, part) for part in evenly(bars, MOST_LABELS)]


def _bar(named: str, cold: Cold) -> Bar:
    told = [*((word(step.name), step.seconds) for step in cold.steps), (CALLS, sum(cold.calls_s[1 : cold.steady or 0]))]
    seconds = {name: sum(taken for each, taken in told if each == name) for name in LOOKS}
    once = {name: taken for name, taken in seconds.items() if name in ONCE and taken > 0}
    start = {name: taken for name, taken in seconds.items() if name not in ONCE and taken > 0}
    after = "" if not cold.calls_s else "not steady" if cold.steady is None else f"steady after {cold.steady}"
    words = ", ".join(filter(None, (_seconds(start), after)))
    return Bar(label=named, parts=(once, start), words=(_seconds(once), words))


def _seconds(parts: dict[str, float]) -> str:
    return f"{sum(parts.values()):.2g} s" if parts else ""
