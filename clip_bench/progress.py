"""Where a run is, in one line: which cell, which step of it, and how long the cells that are left will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from clip_bench.specs import Case

Kin = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """The seconds of the cells that ended in this run, by what they may have in common with those that did not."""

    ran: dict[Kin, list[float]] = field(default_factory=lambda: defaultdict(list))
    skipped: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    served: set[str] = field(default_factory=set)

    def end(self, case: Case, seconds: float, *, skipped: bool) -> None:
        """Note what a cell took from its set-up to its end."""
        if skipped:
            self.skipped[str(case.target)].append(seconds)
            return
        self.served.add(str(case.target))
        for kin in kinship(case):
            self.ran[kin].append(seconds)

    def left(self, cases: Sequence[Case], elapsed_s: float) -> str:
        """How long *cases* will take, the first of which began *elapsed_s* seconds ago: '4:20'.

        A cell takes the median of those that ran of its model and tower, else of its model; one whose target was
        always skipped takes what such skips took. A model of which none ran yet may take a hundred times as long as
        any other: its cells come on top, as '4:20+' tells, and '-' where nothing is known of any.
        """
        known: dict[Kin, float | None] = {}
        expected = []
        for case in cases:
            key = (str(case.target), *kinship(case)[0])
            if key not in known:
                known[key] = self._expected(case)
            expected.append(known[key])
        told = [seconds for seconds in expected if seconds is not None]
        if not told:
            return "-"
        begun = min(elapsed_s, expected[0]) if expected[0] is not None else 0.0
        return clock(sum(told) - begun) + ("+" if len(told) < len(expected) else "")

    def _expected(self, case: Case) -> float | None:
        """Seconds of *case*; None where no cell tells."""
        target = str(case.target)
        if target in self.skipped and target not in self.served:
            return median(self.skipped[target])
        return next((median(self.ran[kin]) for kin in kinship(case) if kin in self.ran), None)


def kinship(case: Case) -> tuple[Kin, ...]:
    """What *case* shares with cells that take about as long, the nearest first."""
    return (case.model.name, str(case.tower)), (case.model.name,)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: '4:20', '1:02:03'."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def line(place: str, case: str, step: str, left: str, columns: int) -> str:
    """'[12/64] CASE  step ...  4:20 left' in fewer than *columns* characters; a long case is cut, and then the rest."""
    tail = f"  {step} ...  {left} left"
    room = max(0, columns - 1 - len(f"{place} ") - len(tail))
    shown = case if len(case) <= room else f"{case[: max(0, room - 2)]}.."
    return f"{place} {shown}{tail}"[: max(0, columns - 1)]
