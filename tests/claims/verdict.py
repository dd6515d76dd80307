"""What a claim's script prints, and how it ends: a table whose last column says whether each bound holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HOLDS = "holds"
FAILS = "does not hold"
COLUMN = "verdict"

Row = Mapping[str, str]


def row(*, holds: bool | None, **cells: str) -> Row:
    """A line of the table, by column (``_`` stands for a space); *holds* is None where nothing is bound."""
    told = {name.replace("_", " "): text for name, text in cells.items()}
    return told | {COLUMN: "" if holds is None else HOLDS if holds else FAILS}


def table(rows: Sequence[Row]) -> str:
    """*rows* as markdown."""
    from tabulate import tabulate

    return tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True)


def ended(rows: Sequence[Row]) -> int:
    """The exit code: 1 where a bound does not hold, and where none was measured."""
    told = [each[COLUMN] for each in rows]
    return int(FAILS in told or HOLDS not in told)
