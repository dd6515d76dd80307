"""What a claim's script writes, and how it ends: a table whose last column says whether each bound holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence

HOLDS = "holds"
FAILS = "does not hold"
COLUMN = "verdict"

Row = dict[str, str]


def row(*, holds: bool | None, **told: str) -> Row:
    """A line of the table, by column (``_`` stands for a space); *holds* is None where nothing is bound."""
    return {name.replace("_", " "): text for name, text in told.items()} | {
        COLUMN: "" if holds is None else HOLDS if holds else FAILS
    }


def show(rows: Sequence[Row]) -> int:
    """Write *rows* as markdown; the exit code is 1 where a bound does not hold, and where none was measured."""
    from tabulate import tabulate

    sys.stdout.write(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True) + "\n\n")
    sys.stdout.flush()
    told = [each[COLUMN] for each in rows]
    return int(FAILS in told or HOLDS not in told)
