"""Values per sample, of the cells that are shown alone: they are most of a run file, and reports take many runs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from clip_bench.record import Record
from clip_bench.runfile import Run, again


def added(table: pd.DataFrame, runs: Sequence[Run]) -> pd.DataFrame:
    """*table*, of *runs*, with the values per sample in its records: their files are read again, one after the other.

    Raises:
        UsageError: a file is no longer what it was.
    """
    shown, first = set(table.index), 0
    records: dict[int, Record] = {}
    for run in runs:
        places = [place for place in range(first, first + len(run.entries)) if place in shown]
        if run.path is not None and any(run.entries[place - first].record.quality for place in places):
            entries = again(run)
            records |= {place: entries[place - first].record for place in places}
        first += len(run.entries)
    kept = [records.get(place, record) for place, record in zip(table.index, table["record"], strict=True)]
    return table.assign(record=pd.Series(kept, index=table.index, dtype="object"))
