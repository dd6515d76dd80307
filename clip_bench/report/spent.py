"""Where the seconds of a run went, and what of them is the suite's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from clip_bench.record import Entry

# In the order in which a cell goes through them; what is not the suite's own is the runtime's and the model's.
WORDS = {
    "building": "building what was not in the store, and verifying what was",
    "importing": "imports in a fresh process",
    "loading": "loading",
    "calling": "the model's own calls",
    "gating": "gates",
    "timing": "timing",
    "pairing": "interleaved blocks",
    "rest": "the rest",
}
OWN = ("building", "importing", "gating", "rest")


def seconds(entries: Sequence[Entry]) -> dict[str, float]:
    """Seconds of all cells together, by :data:`WORDS`."""
    total = Counter[str]()
    for entry in entries:
        total.update(entry.record.spent_s)
    return {word: total[word] for word in WORDS if word in total}


def line(entries: Sequence[Entry]) -> str:
    """The budget of a run; empty where no cell tells what it took."""
    told = [entry for entry in entries if entry.record.spent_s]
    spent = seconds(told)
    if not told:
        return ""
    parts = ", ".join(f"{WORDS[word]} {value:.1f}" for word, value in spent.items() if round(value, 1))
    own = sum(spent.get(word, 0.0) for word in OWN) / len(told)
    return (
        f"{len(told)} cells took {sum(spent.values()):.1f} s: {parts}. "
        f"Outside loads, calls and clocks: {own:.2f} s a cell."
    )
