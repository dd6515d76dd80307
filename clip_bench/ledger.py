"""What became of every selected cell, kept on disk while the run goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clip_bench import record
from clip_bench.errors import ClipBenchError, PlacementError, UnsupportedError
from clip_bench.journal import AGAIN, Journal, Story
from clip_bench.record import Entry, Outcome, Record
from clip_bench.specs import Case

ENDED = {
    UnsupportedError: Outcome.UNSUPPORTED,
    PlacementError: Outcome.FALLBACK,
    MemoryError: Outcome.OUT_OF_MEMORY,
}
EXHAUSTED = re.compile(r"out ?of ?memory|can(no|')t allocate memory|bad[ _]alloc", re.IGNORECASE)  # what runtimes say

Data = Mapping[str, object]


@dataclass(slots=True)
class Ledger:
    """The record and the ending of each of *cases*; ``journal`` is told of each step, if there is one."""

    cases: Mapping[str, Case]
    records: dict[str, Record] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    journal: Journal | None = None

    @property
    def story(self) -> Story:
        """What the journal tells; nothing without one."""
        return Story() if self.journal is None else self.journal.story

    def told_before(self, case: str) -> bool:
        """Whether the journal of an earlier process tells how a cell ended."""
        return case in self.story.ended or case in self.story.died

    def begin(self, case: str) -> None:
        """Tell that a cell is under way."""
        if self.journal is not None:
            self.journal.write("begin", case)

    def note(self, measured: Record) -> Record:
        """Keep what is measured of a cell so far."""
        self.records[measured.case] = measured
        if self.journal is not None:
            entry = self._entry(measured.case, Outcome.LOST, "")
            self.journal.write("note", measured.case, durable=False, entry=record.to_json([entry])[0])
        return measured

    def ending(self, case: str, error: BaseException) -> tuple[Outcome, str]:
        """How a cell that raised *error* ended, and why in one line; where the gate failed it, that is why."""
        measured = self.records.get(case)
        if measured and measured.quality and measured.quality.failures:
            return Outcome.GATE_FAILED, "; ".join(measured.quality.failures)
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, ClipBenchError):
            reason = f"{type(error).__name__}: {reason}"
            if EXHAUSTED.search(reason):
                return Outcome.OUT_OF_MEMORY, reason
        return next((outcome for kind, outcome in ENDED.items() if isinstance(error, kind)), Outcome.FAILED), reason

    def end(self, case: str, outcome: Outcome, reason: str) -> Entry:
        """Keep how a cell ended."""
        if outcome is Outcome.OK and self.story.again(case):
            reason = AGAIN
        self.entries[case] = entry = self._entry(case, outcome, reason)
        return entry

    def _entry(self, case: str, outcome: Outcome, reason: str) -> Entry:
        measured = self.records.get(case) or Record.empty(self.cases[case])
        digest = measured.boundary.digest if measured.boundary else ""
        return Entry(case=case, boundary=digest, outcome=outcome, reason=reason, record=measured)

    def unmet(self, words: Sequence[str]) -> list[str]:
        """Those of *words*, a device or a whole target each, with which no cell ended ok on the device that it means."""
        ok = [name for name, entry in self.entries.items() if entry.outcome is Outcome.OK and _served(entry.record)]
        met = {word for name in ok for word in (self.cases[name].target.device, str(self.cases[name].target))}
        return [word for word in words if word not in met]

    def spend(self, case: str, whole_s: float) -> None:
        """Note how many seconds a cell took from its set-up to its end; what no part of it took is the rest."""
        if (entry := self.entries.get(case)) is None or not entry.record.spent_s:
            return
        known = entry.record.spent_s
        spent = {**known, "rest": max(0.0, whole_s - sum(known.values()))}
        self.entries[case] = replace(entry, record=replace(entry.record, spent_s=spent))

    def close(self, case: str, row: Data | None, reports: Sequence[Data], whole_s: float) -> None:
        """Tell how a cell ended, with all that a run needs that goes on from here: nothing of it is measured again."""
        if self.journal is not None and (entry := self.entries.get(case)):
            told = record.to_json([entry])[0]
            self.journal.write("end", case, entry=told, row=row, reports=reports, whole_s=whole_s)

    def withdraw(self, case: str) -> None:
        """Tell that a cell was interrupted: a run that goes on begins it anew."""
        if self.journal is not None:
            self.journal.write("withdrawn", case)

    def once(self, step: str, measure: Callable[[], Data]) -> Data:
        """What *measure* gives, a step of the run that is no cell and may die as a cell may; or gave an earlier process.

        Raises:
            ClipBenchError: an earlier process died of it.
        """
        if death := self.story.died.get(step):
            msg = f"{death['outcome'].replace('_', ' ')}: {death['reason']}"
            raise ClipBenchError(msg)
        found: Data
        if ended := self.story.ended.get(step):
            found = ended[step]
            return found
        self.begin(step)
        try:
            found = measure()
        except Exception:
            self.withdraw(step)
            raise
        if self.journal is not None:
            told: dict[str, Any] = {step: found}
            self.journal.write("end", step, **told)
        return found

    def restore(self, case: str) -> None:
        """Take from the journal what it tells of a cell of an earlier process: its ending, or its record so far.

        Raises:
            UsageError: that is of another version.
        """
        ended, noted = self.story.ended.get(case), self.story.notes.get(case)
        if told := ended or noted:
            (entry,) = record.from_json([told["entry"]])
            self.records[case] = entry.record
            if ended:
                self.entries[case] = entry


def _served(measured: Record) -> bool:
    """Whether the device that the target means did any of the work, as far as the runtime tells."""
    executed = measured.executed
    return executed is None or not executed.nodes or executed.nodes.get(executed.asked, 0) > 0
