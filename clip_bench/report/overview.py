"""Many machines at a glance: the best cell of each machine and kind of device, and the best of each kind over all machines.

A cell is best as ``clip-bench best`` has it: the least median latency of those that ended ok on hardware, are not
impossible, and lose no more than a point of top-1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from clip_bench.record import Outcome
from clip_bench.report import platforms
from clip_bench.report.best import KIND, OBJECTIVES, Bounds, answerable, unfit
from clip_bench.report.blocks import alike, has, join
from clip_bench.report.calls import SETTING, describe, heading, split
from clip_bench.report.columns import Row, label
from clip_bench.report.figures import clean, fixed, markdown, millis
from clip_bench.report.fronts import TOP1

FREE = "threads"  # what each machine has of its own, and no overview tells apart
ALIKE = tuple(name for name in SETTING if name != FREE)
MANY = 20  # machines: of more, their own tables are no overview
OBJECTIVE = "latency"
TITLE = "Best of each kind of device"
HEADS = ("Model", "Device", "Best cell", "Best machine", "Chip", "Best P50 (ms)", "Middle P50 (ms)", "Slowest P50 (ms)", "Top-1 (%)", "Machines")  # fmt: skip
WORDS = 5  # of these columns, how many hold words
LEGEND = (
    "Of each machine and kind of device its best cell counts: the least median latency that loses no more than a point of "
    "top-1. *Best*, *middle* and *slowest* are of these machines. Machines of one name are one."
)


@dataclass(slots=True)
class Overview:
    """The best cells by machine, kind of call and device; and how many cells ended how, of how many machines."""

    best: dict[tuple[object, ...], Row] = field(default_factory=dict)
    machines: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def take(self, rows: Iterable[Row]) -> None:
        """Heed *rows*, each the newest of its cell."""
        objective, bounds = OBJECTIVES[OBJECTIVE], Bounds()
        for row in rows:
            self.machines[row["machine"]] += 1
            self.outcomes[row["outcome"]] += 1
            if not answerable(row) or unfit(row, OBJECTIVE, bounds):
                continue
            key = (*(str(row[name]) for name in KIND if name != FREE), has(row, TOP1), row["device"])
            if key not in self.best or objective.cost(row) < objective.cost(self.best[key]):
                self.best[key] = row

    @property
    def rows(self) -> list[Row]:
        """The best cells: models in the order of their names, the quickest first."""
        return sorted(self.best.values(), key=lambda row: (row["model"], row["p50_ms"], row["machine"]))

    def told(self) -> str:
        """In a sentence, of what this is."""
        counts = ", ".join(f"{self.outcomes[word]} {word.replace('_', ' ')}" for word in Outcome if self.outcomes[word])
        cells = sum(self.outcomes.values())
        return f"{len(self.machines)} machines with {cells} cells, the newest measurement of each: {counts or 'none'}"


def devices(rows: Sequence[Row]) -> str:
    """For each kind of call, a table with the best of each model and kind of device, of *rows*, the best of machines."""
    parts = [LEGEND] if rows else ["No cell was timed."]
    for group in split([_cleaned(row) for row in rows], ALIKE):
        several = alike(group, ("model", "weights", "device"))
        lines = [_line(each) for each in sorted(several, key=_place)]
        parts += [f"### {heading(group)}", describe(group, scores=True), markdown(HEADS, lines, left=WORDS)]
    return join(parts)


def _place(rows: Sequence[Row]) -> tuple[str, str, int]:
    """By model, and devices in their order."""
    first, order = rows[0], [*platforms.DEVICES, rows[0]["device"]]
    return first["model"], first["weights"], order.index(first["device"])


def _line(rows: Sequence[Row]) -> list[str]:
    """One model on one kind of device: the best of all machines, and how the others stand to it."""
    first = min(rows, key=lambda row: row["p50_ms"])
    times = [row["p50_ms"] for row in rows]
    return [
        first["model"],
        platforms.DEVICES.get(first["device"], first["device"]),
        label(first),
        first["machine"],
        first["chip"],
        *(millis(value) for value in (min(times), median(times), max(times))),
        fixed(first[TOP1], 1),
        str(len({row["machine"] for row in rows})),
    ]


def _cleaned(row: Row) -> Row:
    return {name: clean(value) if isinstance(value, str) and value else value for name, value in row.items()}
