"""What is shown of the runs of one machine: the newest measurement of each cell."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from clip_bench.report.rows import frame, newest
from clip_bench.runfile import Run


def current(runs: Sequence[Run]) -> pd.DataFrame:
    """The rows of the newest measurement of each cell in *runs*, newest first; of a cell never run, its newest skip.

    They are numbered as the entries of all *runs* are.
    """
    owners = [number for number, run in enumerate(runs) for _ in run.entries]
    places = newest(runs)
    needed = {owners[place] for place in places}  # whole runs: a speed-up is over a cell of its own run
    table = frame([run for number, run in enumerate(runs) if number in needed])
    table.index = pd.Index([place for place, number in enumerate(owners) if number in needed], dtype="int64")
    return table.loc[places]
