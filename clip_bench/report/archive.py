"""An archive: many run files as one Parquet data set, a row for each cell; appended to, never rewritten.

It is a folder of parts. A part is never changed: it holds the cells of some files, and tells in its metadata the schema and
the sha256 of each of these, so that no file is taken twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clip_bench import places
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.places import Place, Remote
from clip_bench.report.archive_columns import COLUMNS, FIGURE, SCHEMA, TIME, WORD

if TYPE_CHECKING:
    import pyarrow as pa

NOTE = b"clip_bench"  # the key of a part's metadata
NAMED = "part-*.parquet"


def is_archive(place: Place) -> bool:
    """Whether *place* is a folder that has parts of an archive."""
    return place.is_dir() and bool(parts(place))


def read(place: Place, columns: Sequence[str]) -> pa.Table:
    """The *columns* of all cells in the archive at *place*; a file that is in several parts counts once.

    Raises:
        UnavailableError: no pyarrow.
        UsageError: there is no part, or one is of another schema or cannot be read.
    """
    pa, pq = arrow()
    import pyarrow.compute as pc

    tables, seen = [], set[str]()
    for part in parts(place):
        files = held(part)
        twice = sorted(seen.intersection(files))
        seen.update(files)
        with _read(part):
            table = pq.read_table(
                _opened(part),
                columns=list({*columns, "sha256"} if twice else columns),
                page_checksum_verification=True,
            )
        if twice:
            table = table.filter(pc.invert(pc.is_in(table["sha256"], pa.array(twice)))).select(list(columns))
        tables.append(table.select(list(columns)).replace_schema_metadata())
    if not tables:
        msg = f"{place}: no part of an archive in it; make one with clip-bench archive RUNS -o {place}"
        raise UsageError(msg)
    return pa.concat_tables(tables)


def count(place: Place) -> int:
    """How many run files are in the archive at *place*.

    Raises:
        UsageError: as :func:`read`.
    """
    return len({sha256 for part in parts(place) for sha256 in held(part)})


def schema(files: Iterable[str] = ()) -> pa.Schema:
    """The schema of a part that holds *files*, by their sha256."""
    pa, _ = arrow()
    kinds = {WORD: pa.string(), FIGURE: pa.float64(), TIME: pa.timestamp("us", tz="UTC")}
    fields = [pa.field(name, kinds.get(kind, pa.int64())) for name, (kind, _) in COLUMNS.items()]
    return pa.schema(fields, metadata={NOTE: json.dumps({"schema": SCHEMA, "files": list(files)})})


def arrow() -> tuple[Any, Any]:
    """Pyarrow, and its part for Parquet.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        msg = "an archive needs pyarrow: pip install 'clip-bench[archive]'"
        raise UnavailableError(msg) from exc
    return pa, pq


def parts(place: Place) -> list[Place]:
    """The parts in the folder *place*, in the order of their names."""
    return [path for path in places.inside(place, NAMED) if place / path.name == path]


def held(part: Place) -> list[str]:
    """The sha256 of the files in *part*.

    Raises:
        UsageError: it cannot be read, or is of another schema.
    """
    _, pq = arrow()
    with _read(part):
        found = pq.read_schema(_opened(part))
        note = json.loads((found.metadata or {}).get(NOTE, b"{}"))
    told, files = (note.get(name) if isinstance(note, dict) else None for name in ("schema", "files"))
    if told != SCHEMA or not isinstance(files, list) or not found.equals(schema()):
        msg = (
            f"{part}: a part of schema {told}, and this version reads schema {SCHEMA}: use the "
            "clip-bench that wrote it, or make another archive from the run files"
        )
        raise UsageError(msg)
    return list(map(str, files))


@contextmanager
def _read(part: Place) -> Iterator[None]:
    """What pyarrow says of a damaged file, in one line of ours."""
    pa, _ = arrow()
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as exc:
        msg = f"{part}: cannot be read ({' '.join(str(exc).split())}); move it out of the archive"
        raise UsageError(msg) from exc


def _opened(part: Place) -> Any:  # noqa: ANN401  what pyarrow reads
    pa, _ = arrow()
    return pa.BufferReader(places.read(part)) if isinstance(part, Remote) else str(part)
