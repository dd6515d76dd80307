"""Where the nodes of each graph ran, and in which types, by the runtimes' own evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from clip_bench.record import Executed
from clip_bench.report.bars import Bar, stacked
from clip_bench.report.blocks import evenly
from clip_bench.report.calls import plural
from clip_bench.report.columns import Row, label
from clip_bench.report.plots import COLOURS, GREY, MOST_LABELS

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
COLUMNS = ("placed (% of nodes)", "executed in (% of nodes)")
UNTOLD = "the runtime does not tell"


def pictures(subject: str, rows: Sequence[Row]) -> list[str]:
    """Which share of the nodes is where the target means, and which share executes in which type."""
    told = [(row, row["record"].executed) for row in rows if row["record"].executed]
    bars = [_bar(label(row), found) for row, found in told if found.asked and max(found.nodes.values(), default=0) > 0]
    title = f"{subject}: where do its nodes run, and in which types?"
    return [stacked(title, COLUMNS, LOOKS, part) for part in evenly(bars, MOST_LABELS)]


def _bar(named: str, found: Executed) -> Bar:
    places = {MEANT: found.nodes.get(found.asked, 0)}
    elsewhere = {name: count for name, count in found.nodes.items() if name != found.asked and count > 0}
    places[ELSEWHERE] = sum(elsewhere.values())
    types: Counter[str] = Counter()
    for name, count in found.dtypes.items():
        types[TYPES.get(name, OTHER)] += count
    where = ", ".join(f"{count} on {name}" for name, count in elsewhere.items())
    words = where or plural(places[MEANT], "node")
    return Bar(label=named, parts=(_shares(places), _shares(types)), words=(words, "" if types else UNTOLD))


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(count for count in counts.values() if count > 0)
    return {name: PERCENT * count / total for name, count in counts.items() if count > 0}
