"""What became of every selected cell, kept on disk while the run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from clip_bench import record
from clip_bench.journal import AGAIN, Journal
from clip_bench.record import Entry, Outcome, Record
from clip_bench.specs import Case

Data = Mapping[str, object]


@dataclass(slots=True)
class Ledger:
    """The record and the ending of each of *cases*; ``journal`` is told of each step, if there is one."""

    cases: Mapping[str, Case]
    records: dict[str, Record] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    journal: Journal | None = None

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

    def end(self, case: str, outcome: Outcome, reason: str) -> Entry:
        """Keep how a cell ended."""
        if outcome is Outcome.OK and self.journal is not None and self.journal.story.again(case):
            reason = AGAIN
        self.entries[case] = entry = self._entry(case, outcome, reason)
        return entry

    def _entry(self, case: str, outcome: Outcome, reason: str) -> Entry:
        measured = self.records.get(case) or Record.empty(self.cases[case])
        digest = measured.boundary.digest if measured.boundary else ""
        return Entry(case=case, boundary=digest, outcome=outcome, reason=reason, record=measured)

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

    def restore(self, case: str) -> None:
        """Take from the journal what it tells of a cell of an earlier process: its ending, or its record so far.

        Raises:
            UsageError: that is of another version.
        """
        if self.journal is None:
            return
        ended, noted = self.journal.story.ended.get(case), self.journal.story.notes.get(case)
        if told := ended or noted:
            (entry,) = record.from_json([told["entry"]])
            self.records[case] = entry.record
            if ended:
                self.entries[case] = entry
