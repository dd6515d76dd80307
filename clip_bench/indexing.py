"""Documents into a vector database: fetched, decoded, encoded as the client's own batch, written, and found again.

The database is LanceDB: embedded, so that there is no server to install; Arrow in and out; maintained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.encoder import Embed, stacked
from clip_bench.errors import UsageError
from clip_bench.fetching import Source
from clip_bench.quality import metrics

if TYPE_CHECKING:
    from lancedb.db import DBConnection
    from lancedb.table import Table

LEAST = 5  # batches of each size: the median is then none of the first ones
NEAREST = 10  # answers to a query
QUERIES = 50  # texts that are looked up
NEAR = 1e-5  # cosines so near are tied: the database sums in float32
PARTS = ("fetch", "prepare", "encode", "write")

Floats = NDArray[np.float32]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What adding documents in batches of *size* took and gave.

    ``seconds`` has those of each batch for each of :data:`PARTS`. ``rows``, (n, width), are the embeddings as the model
    gave them, ``names`` their documents; ``left_out`` are the bad ones, and why. ``table`` holds a row for each of ``rows``,
    by its number.
    """

    size: int
    seconds: Mapping[str, tuple[float, ...]]
    rows: Floats
    names: tuple[str, ...]
    left_out: Mapping[str, str]
    table: Table


@contextmanager
def database() -> Iterator[DBConnection]:
    """An empty database in a folder that is gone afterwards."""
    import lancedb

    with TemporaryDirectory(prefix="clip-bench-index-") as folder:
        yield lancedb.connect(folder)


def index(
    source: Source,
    encode: Embed,
    created: Callable[[Any], Table],
    *,
    size: int,
    batches: int,
    clock: Clock = time.perf_counter,
) -> Indexed:
    """Add so many *batches* of *size* documents, which take turns; *created* makes the table of the first rows.

    A batch without a good document is neither encoded nor counted. Every call of *encode*'s model
    takes one client's batch: where documents are bad, it is filled up with good ones.

    Raises:
        UsageError: no document is good.
    """
    turns = cycle(source.documents)
    seconds: dict[str, list[float]] = {part: [] for part in PARTS}
    rows, names, left_out, table = list[Floats](), list[str](), dict[str, str](), None
    for _ in range(batches):
        batch = list(islice(turns, size))
        times = [clock()]
        found = source.fetch(batch)
        times.append(clock())
        prepared = source.prepare(found)
        times.append(clock())
        left_out |= {
            name: str(each) for name, each in zip(batch, prepared, strict=True) if isinstance(each, UsageError)
        }
        good = [(name, each) for name, each in zip(batch, prepared, strict=True) if isinstance(each, np.ndarray)]
        if not good:
            continue
        encoded = stacked(encode([each for _, each in good]))
        times.append(clock())
        data = _arrow(len(names), [name for name, _ in good], encoded)
        if table is None:
            table = created(data)
        else:
            table.add(data)
        times.append(clock())
        names += [name for name, _ in good]
        rows.append(encoded)
        for part, began, ended in zip(PARTS, times, times[1:], strict=False):
            seconds[part].append(ended - began)
    if table is None:
        name, reason = next(iter(left_out.items()))
        msg = f"no document could be indexed; the first: {name}: {reason}"
        raise UsageError(msg)
    return Indexed(
        size=size,
        seconds={part: tuple(several) for part, several in seconds.items()},
        rows=np.concatenate(rows),
        names=tuple(names),
        left_out=left_out,
        table=table,
    )


def _arrow(first: int, names: Sequence[str], rows: Floats) -> Any:  # noqa: ANN401  pyarrow has no types
    import pyarrow as pa

    numbers = range(first, first + len(names))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    return pa.table({"number": pa.array(numbers, pa.int64()), "document": pa.array(names), "embedding": vectors})


def search(
    indexed: Indexed, queries: Floats, k: int = NEAREST, clock: Clock = time.perf_counter
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Look up *queries*, (q, width), in the table, by cosine: of each, the recall of exact search over its rows, and the seconds."""
    answers, seconds = [], []
    for query in queries:
        began = clock()
        asked: Any = indexed.table.search(
            query, vector_column_name="embedding"
        )  # typed as any kind of query, not of vectors
        told = asked.distance_type("cosine").limit(k).select(["number", "_distance"]).to_arrow()
        seconds.append(clock() - began)
        answers.append(told["number"].to_pylist())
    return agreement(answers, queries, indexed.rows, k), tuple(seconds)


def agreement(answers: Sequence[Sequence[int]], queries: Floats, rows: Floats, k: int = NEAREST) -> tuple[float, ...]:
    """Of each of *queries* the share of the *k* nearest of *rows* that its *answers*, numbers of rows, have.

    A row is as good as the k-th nearest where float32 does not tell their cosines apart (:data:`NEAR`). Where there are
    fewer than *k* rows, all are asked for.
    """
    k = min(k, len(rows))
    scores = metrics.rank(queries, rows)
    bounds = np.sort(scores, axis=1)[:, -k] - NEAR
    hits = [
        sum(bool(score[number] >= bound) for number in set(answer) if 0 <= number < len(rows))
        for answer, score, bound in zip(answers, scores, bounds, strict=True)
    ]
    return tuple(min(each, k) / k for each in hits)
