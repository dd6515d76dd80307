"""The drift that cells are known to have: what they had in the runs that are committed under ``reports/``.

A precision's floors must hold for every model. A cell that is what it was when it was measured has the drift that it had
then, to a digit or more on the machines seen so far: much less than its floors allow, so that far smaller faults show. The
table is of the default data alone; a cell that is not in it, such as one on data of the user's, is held to its floors.

``known.csv`` is written by ``python tests/unit/quality/learn.py``.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("known.csv")
HEADS = ("case", "output", "data_sha256", "drift")


def of(case: str, data_sha256: str) -> Mapping[str, float]:
    """The mean drift of each output of *case*, an id without words of a load, on that data; empty where it is not known."""
    return _table().get((case, data_sha256), {})


@cache
def _table() -> Mapping[tuple[str, str], Mapping[str, float]]:
    found: dict[tuple[str, str], dict[str, float]] = {}
    with TABLE.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault((row["case"], row["data_sha256"]), {})[row["output"]] = float(row["drift"])
    return found
