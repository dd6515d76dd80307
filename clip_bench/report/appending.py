"""What is appended to an archive: the cells of run files that are not in it yet.

Whoever appends holds the lock of the folder, and writes each part whole or not at all: what was written before a kill stays.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from clip_bench import files, finding, jsonfile, locks, places
from clip_bench.errors import StoreError, UsageError
from clip_bench.places import Place
from clip_bench.report import archive, platforms, rows, speedups
from clip_bench.report.archive_columns import COLUMNS, FIGURE, TIME, WORD
from clip_bench.runfile import Run, apart, from_file

FILES = 256  # in a part; what a killed append has to read again at most
LOCK, PARTIAL = ".lock", ".partial"
COMPRESSION = "zstd"
GIVE = "give the JSON file of a run"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What an append did: files and cells that are new, files that were there, findings and other JSON, what is left out."""

    parts: int = 0
    files: int = 0
    cells: int = 0
    before: int = 0
    others: int = 0
    bad: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One run file: its name, its sha256, and its cells as rows of :data:`COLUMNS`."""

    file: str
    sha256: str
    cells: Sequence[Mapping[str, object]]


def append(folder: Path, sources: Sequence[Place], tally: Tally) -> Iterator[Path]:
    """Write what *folder* has not yet of the runs at *sources*; each part as it is written, and *tally* as it grows.

    Raises:
        UnavailableError: no pyarrow.
        UsageError: a place cannot be reached or holds no JSON, a part is of another schema, or the folder has no locks.
        OSError: the folder cannot be written.
    """
    archive.arrow()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locks.alone(folder / LOCK, f"appending to {folder}"):
            for left in folder.glob(f".*{PARTIAL}"):  # of one that was killed: nobody else writes now
                left.unlink()
            done = {sha256 for part in archive.parts(folder) for sha256 in archive.held(part)}
            found = _new(_named(sources), done, tally)
            while several := list(islice(found, FILES)):
                yield _write(folder, several)
                tally.parts += 1
                tally.files += len(several)
                tally.cells += sum(len(each.cells) for each in several)
    except StoreError as exc:
        msg = f"{folder}: its file system has no locks: make the archive on a local disk, and copy its parts"
        raise UsageError(msg) from exc


def _named(sources: Sequence[Place]) -> Iterator[tuple[Place, bool]]:
    """The JSON files at *sources*, and whether each was named itself."""
    for place in sources:
        folder = place.is_dir()
        found = places.inside(place, "*.json") if folder else [place]
        if not found:
            msg = f"{place}: no JSON file in it; {GIVE}, or a folder of them"
            raise UsageError(msg)
        yield from ((file, not folder) for file in found)


def _new(named_files: Iterable[tuple[Place, bool]], done: set[str], tally: Tally) -> Iterator[Read]:
    """The runs among *named_files* that are not *done*; what cannot be used is noted in *tally*."""
    for file, named in named_files:
        try:
            stored = places.read(file)
            sha256 = hashlib.sha256(stored).hexdigest()
            if sha256 in done:
                tally.before += 1
                continue
            data = jsonfile.parsed(stored, file, GIVE)
            if (not named and not (isinstance(data, dict) and "outcomes" in data)) or _beside(data):
                tally.others += 1
                continue
            runs = apart(from_file(file, data, samples=False))
            cells = [cell for run in runs for cell in _cells(run, file.name, sha256)]
            found = Read(file=_words(file.name), sha256=sha256, cells=cells)
        except OSError as exc:
            tally.bad[str(file)] = f"cannot be read ({exc.strerror or exc})"
        except UsageError as exc:
            tally.bad[str(file)] = str(exc).removeprefix(f"{file}: ")
        else:
            done.add(sha256)
            yield found


def _beside(data: object) -> bool:
    return isinstance(data, dict) and finding.KEY in data


def _cells(run: Run, file: str, sha256: str) -> list[dict[str, object]]:
    """A row for each entry of *run*.

    Raises:
        UsageError: a record's timing cannot be true.
    """
    origin = {"sha256": sha256, "file": file, "witness": run.head, "measured": _moment(run.datetime)}
    own = origin | _machine(run.machine)
    return [
        {name: _plain((own | row | _apart(row)).get(name), kind) for name, (kind, _) in COLUMNS.items()}
        for row in rows.of_run(run)
    ]


def _apart(row: rows.Row) -> dict[str, object]:
    """What a row of the frame holds as an object of its own, in columns."""
    record: Any = row["record"]
    runtimes = record.boundary.runtimes if record.boundary else {}
    told: dict[str, object] = {"runtimes": ", ".join(f"{name} {version}" for name, version in sorted(runtimes.items()))}
    if record.paired is None or row.get("ratio") is None:
        return told
    found = speedups.of(record.paired).speedup
    return told | {"paired_speedup": found.value, "paired_speedup_low": found.low, "paired_speedup_high": found.high}


def _machine(machine: Mapping[str, Any]) -> dict[str, object]:
    lists = {name: machine.get(name) for name in ("isa", "governors")}
    joined = {name: ", ".join(map(str, found)) if isinstance(found, list) else "" for name, found in lists.items()}
    joined["accelerators"] = ", ".join(platforms.accelerators(machine))
    words = {name: str(machine.get(name) or "") for name in ("cpu", "os", "python", "power")}
    return words | joined | {name: machine.get(name) for name in ("cores_physical", "cores_logical", "ram_bytes")}


def _plain(value: Any, kind: str) -> object:  # noqa: ANN401  of any column
    """A value as its column holds it; null where nothing was measured."""
    if kind == WORD:
        return _words("" if value is None else str(value))
    if kind == TIME or not isinstance(value, int | float) or math.isnan(value):
        return value if isinstance(value, datetime) else None
    return float(value) if kind == FIGURE else int(value)


def _words(text: str) -> str:
    """As Parquet takes it: UTF-8 alone."""
    return text.encode("utf-8", "replace").decode()


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _write(folder: Path, several: Sequence[Read]) -> Path:
    """A part with *several* files, named by what is in it; whole, on the disk, or not at all."""
    pa, pq = archive.arrow()
    held = [each.sha256 for each in several]
    table = pa.Table.from_pylist([cell for each in several for cell in each.cells], schema=archive.schema(held))
    name = f"part-{hashlib.sha256(' '.join(held).encode()).hexdigest()[:16]}.parquet"
    with files.whole(folder / name) as partial:
        pq.write_table(table, partial, compression=COMPRESSION, write_page_checksum=True)
    return folder / name
