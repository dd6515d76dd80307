"""A run summed up for a terminal: its table, its profile, the cells that it missed, and where its time went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clip_bench.report import narrow, spent, tables
from clip_bench.report.missed import Line, missed, tally
from clip_bench.report.profiles import profiles
from clip_bench.report.rows import frame
from clip_bench.runfile import Run, apart


def lines(run: Run, percentiles: Sequence[float], columns: int | None = None, *, alone: bool = False) -> Iterator[Line]:
    """The summary in lines, each with the outcome that it tells of; most tell of none.

    The profile, with *percentiles*, is of cells under a load, and with *alone* of those that have none beside them, too.
    All else is wrapped at so many *columns*, or not at all.
    """
    table = frame(apart(run))
    yield "", tables.terminal(table, columns).rstrip("\n") + "\n"
    if asked := profiles(table, percentiles, alone=alone):
        yield "", asked
    yield from missed(table, columns)
    ended = tally([entry.outcome for entry in run.entries])
    budget = "\n".join(filter(None, (f"{ended}.", spent.line(run.entries))))
    yield "", ""
    yield "", narrow.wrapped(budget, columns) if columns else budget
