"""What became of every selected cell, kept on disk while the run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from clip_bench import record
from clip_bench.record import Entry, Outcome, Record
from clip_bench.specs import Case


@dataclass(slots=True)
class Ledger:
    """The record and the ending of each of *cases*; ``journal`` is a file that gets a line for each ending."""

    cases: Mapping[str, Case]
    records: dict[str, Record] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    journal: Path | None = None

    def note(self, measured: Record) -> Record:
        """Keep what is measured of a cell so far."""
        self.records[measured.case] = measured
        return measured

    def end(self, case: str, outcome: Outcome, reason: str) -> Entry:
        """Keep how a cell ended."""
        measured = self.records.get(case) or Record.empty(self.cases[case])
        digest = measured.boundary.digest if measured.boundary else ""
        entry = Entry(case=case, boundary=digest, outcome=outcome, reason=reason, record=measured)
        self.entries[case] = entry
        if self.journal is not None:
            self.journal.parent.mkdir(parents=True, exist_ok=True)
            with self.journal.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record.to_json([entry])[0]) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        return entry

    def spend(self, case: str, whole_s: float) -> None:
        """Note how many seconds a cell took from its set-up to its end; what no part of it took is the rest."""
        if (entry := self.entries.get(case)) is None or not entry.record.spent_s:
            return
        known = entry.record.spent_s
        spent = {**known, "rest": max(0.0, whole_s - sum(known.values()))}
        self.entries[case] = replace(entry, record=replace(entry.record, spent_s=spent))
