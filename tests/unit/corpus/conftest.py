"""Units whose pictures are numbers, and what a cluster tells of them."""

import numpy as np
import pyarrow as pa
import pytest

from clip_bench.corpus import work
from clip_bench.corpus.sources import Kind, Unit

ARTIFACT = "an artifact"


@pytest.fixture
def units():
    """Five units of one to five pictures; every seventh picture is bad."""
    numbers = iter(range(100))
    return [
        Unit(kind=Kind.FILES, root="/pictures", names=tuple(f"{next(numbers):02}.png" for _ in range(count)))
        for count in (3, 5, 1, 4, 2)
    ]


@pytest.fixture
def told():
    """A function from a unit's number and itself to the rows that a cluster tells of it, a dict each."""

    def rows(number, unit, artifact=ARTIFACT):
        for row, name in enumerate(unit.names):
            bad = int(name[:2]) % 7 == 6
            yield {
                "unit": number,
                "row": row,
                "last": row == len(unit.names) - 1,
                "name": name.encode(),
                "wrong": b"no picture" if bad else b"",
                "artifact": artifact,
                "embedding": b"" if bad else np.float32([int(name[:2]), 1]).tobytes(),
            }

    return rows


@pytest.fixture
def table():
    """A function from such rows to a table."""
    return lambda rows: pa.Table.from_pylist(list(rows), work.EMBEDDINGS)
