"""Where the nodes of each graph ran, and in which types, by the runtimes' own evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from clip_bench.plain import plural
from clip_bench.record import Executed
from clip_bench.report.bars import Bar, stacked
from clip_bench.report.blocks import evenly
from clip_bench.report.columns import Row, label
from clip_bench.report.sheet import COLOURS, GREY, MOST_LABELS

PERCENT = 100
MEANT, ELSEWHERE, OTHER = "where the target means", "elsewhere", "other types, such as those of indices"
NARROW, WIDE = "8-bit integers", "16-bit integers"
LOOKS = {
    MEANT: GREY,
    ELSEWHERE: COLOURS[4],
    "float32": COLOURS[0],
    "float16": COLOURS[5],
    "bfloat16": COLOURS[3],
    WIDE: COLOURS[1],
    NARROW: COLOURS[2],
    OTHER: "#b4b4b4",
}
TYPES = {  # each runtime's words
    **dict.fromkeys(("float", "float32", "f32"), "float32"),
    **dict.fromkeys(("float16", "f16"), "float16"),
    **dict.fromkeys(("bfloat16", "bf16"), "bfloat16"),
    **dict.fromkeys(("int16", "uint16", "i16", "u16"), WIDE),
    **dict.fromkeys(("int8", "uint8", "i8", "u8"), NARROW),
}
COLUMNS = ("placed (% of nodes)", "executed in (% of nodes)", "first call (% of time)")
UNTOLD = "not told"
T = TypeVar("T")


def pictures(subject: str, rows: Sequence[Row]) -> list[str]:
    """Which share of the nodes is where the target means and executes in which type, and of the first call's time.

    A column that no runtime here tells is left out.
    """
    told = [(row, row["record"].executed) for row in rows if row["record"].executed]
    bars = [_bar(label(row), found) for row, found in told if found.asked and max(found.nodes.values(), default=0) > 0]
    kept = [place for place in range(len(COLUMNS)) if any(bar.parts[place] for bar in bars)]
    bars = [replace(bar, parts=_only(bar.parts, kept), words=_only(bar.words, kept)) for bar in bars]
    title = f"{subject}: where do its nodes run, and in which types?"
    return [stacked(title, _only(COLUMNS, kept), LOOKS, part) for part in evenly(bars, MOST_LABELS)]


def _bar(named: str, found: Executed) -> Bar:
    elsewhere = {name: count for name, count in found.nodes.items() if name != found.asked and count > 0}
    places = {MEANT: found.nodes.get(found.asked, 0), ELSEWHERE: sum(elsewhere.values())}
    types: Counter[str] = Counter()
    for name, count in found.dtypes.items():
        types[TYPES.get(name, OTHER)] += count
    parts = (_shares(places), _shares(types), _shares(_time(found)))
    where = ", ".join(f"{count} on {name}" for name, count in elsewhere.items()) or plural(places[MEANT], "node")
    return Bar(label=named, parts=parts, words=(where, *("" if part else UNTOLD for part in parts[1:])))


def _time(found: Executed) -> dict[str, float]:
    """Seconds of the first call: elsewhere, and where the target means by type, as far as it is told."""
    seconds = dict.fromkeys(LOOKS, 0.0)
    for place, by_type in found.first_call_s.items():
        for name, taken in by_type.items():
            own = TYPES.get(name, OTHER) if name else MEANT
            seconds[own if place == found.asked else ELSEWHERE] += taken
    return seconds


def _only(items: Sequence[T], places: Sequence[int]) -> tuple[T, ...]:
    return tuple(items[place] for place in places)


def _shares(counts: Mapping[str, float]) -> dict[str, float]:
    total = sum(count for count in counts.values() if count > 0)
    return {name: PERCENT * count / total for name, count in counts.items() if count > 0}
