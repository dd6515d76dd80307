"""The overview of an archive: its pages, made of the newest measurement of each cell of each machine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clip_bench.places import Place
from clip_bench.record import Outcome
from clip_bench.report import archive, many, overview, pages
from clip_bench.report.archive_columns import COLUMNS, WORD
from clip_bench.report.columns import Row
from clip_bench.report.markup import words

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 2048  # rows at a time as objects of Python
NEEDED = (
    *("machine", "run", "sha256", "datetime", "chip", "ram", "cpu", "accelerators"),
    *("case", "tower", "model", "weights", "target", "backend", "device", "precision", "variant", "bare"),
    *("outcome", "reason", "failures", "unstable", "verdict", "data", "samples"),
    *("batch", "texts", "sequence", "image_size", "inside_clock", "threads"),
    *("load", "instances", "device_ids", "queue", "inputs", "fed"),
    *("p50_ms", "p90_ms", "p99_proven_ms", "throughput_avg", "speedup", "energy_j"),
    *("similarity_mean", "top1_percent", "top1_reference_percent", "t2i_r1_percent"),
    *("size_mb", "first_s", "load_s", "peak_mb"),
)
PAGES = "Each with its cells in the archive, the newest measurement of each."


@dataclass(slots=True)
class Machine:
    """What the newest run tells of a machine, and how many cells it has."""

    told: tuple[str, ...]
    newest: str = ""
    cells: int = 0


def made(place: Place, out_dir: Path) -> dict[Path, str]:
    """The text of ``<out_dir>/README.md`` and ``<out_dir>/index.html`` over all machines of the archive at *place*.

    Raises:
        UnavailableError: no pyarrow.
        UsageError: there is no part, or one is of another schema or cannot be read.
    """
    whole, machines = overview.Overview(), dict[str, Machine]()
    for row in _rows(_newest(archive.read(place, NEEDED))):
        whole.take([row])
        _note(machines, row)
    lines = (_line(name, machines[name]) for name in sorted(machines))
    told = f"An archive of {archive.count(place)} run files."
    return {
        out_dir / "README.md": pages.whole_page(["# Reports", told, many.markdown(whole)]),
        out_dir / "index.html": many.page(whole, pages.folder, machines=lines, pages=PAGES),
    }


def _newest(table: pa.Table) -> pa.Table:
    """The newest measurement of each cell of each machine; of a cell never run, its newest skip."""
    import pyarrow as pa
    import pyarrow.compute as pc

    order = table.select(["machine", "case", "datetime", "run"])
    order = order.append_column("skipped", pc.equal(table["outcome"], Outcome.SKIPPED.value))
    order = order.append_column("place", pa.array(range(len(table)), pa.int64()))
    keys = [("skipped", "ascending"), ("datetime", "descending"), ("run", "descending"), ("place", "ascending")]
    first = order.sort_by(keys).group_by(["machine", "case"], use_threads=False).aggregate([("place", "first")])
    return table.take(first["place_first"])


def _rows(table: pa.Table) -> Iterator[Row]:
    """As the tables' frame has them: what was not measured is no number."""
    figures = [name for name in table.column_names if COLUMNS[name][0] != WORD]
    for batch in table.to_batches(max_chunksize=CHUNK):
        for row in batch.to_pylist():
            yield row | {name: math.nan for name in figures if row[name] is None} | {"ratio": None}


def _note(machines: dict[str, Machine], row: Row) -> None:
    noted = machines.setdefault(row["machine"], Machine(told=()))
    noted.cells += 1
    if not noted.told or row["datetime"] > noted.newest:
        noted.newest, noted.told = row["datetime"], (row["cpu"], row["ram"], row["accelerators"])


def _line(name: str, machine: Machine) -> str:
    cells = (name, *machine.told, machine.newest[:10], str(machine.cells))
    return "<tr>" + "".join(f"<td>{words(cell) or '-'}</td>" for cell in cells) + "</tr>"
