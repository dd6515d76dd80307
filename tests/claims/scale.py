"""What a billion pictures take, from what was measured, and what a head bears, measured here: docs/scale.md.

``python tests/claims/scale.py [PRICE]``: dollars of an hour of a node, 0.10 where none is given: a figure of yours, not ours.
The first two tables are arithmetic on the findings under reports/; the page holds them. The third is measured: a head that
gathers embeddings and writes shards, one that writes the manifest of a billion pictures, and one that sends cells to 1,000
nodes. Bound is the head of 1,000 nodes, which has to keep them busy with cells of ten seconds.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pages
import verdict

PICTURES = (10**9, 10**11)
PRICE, DAY_H = 0.10, 24
PICTURE_BYTES = 164_422  # the mean of fifty photographs of COCO val2017, which the embedding finding read
SIDE, WIDTH, SHARD = 224, 512, 4096
CORES = 2  # of a node: the reports' machine
ACCELERATED = 10_000  # images per second of a node with an accelerator: an example
NODES, CELLS = 1000, 5000
SHORTEST_S = 10.0  # bound of the cells that 1,000 nodes are to be kept busy with
HEADS = (
    "Cell",
    "Encode (images/s)",
    "With decoding (images/s)",
    "Node-hours for 10⁹",
    "Dollars for 10⁹",
    "Nodes for 10⁹ in a day",
    "Dollars for 10¹¹",
    "Nodes for 10¹¹ in 30 days",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A measured cell: images per second that it encodes, and that a node does which decodes on the same cores in turns."""

    case: str
    encode: float
    node: float

    def node_hours(self, pictures: int) -> float:
        """pictures / (images per second · 3600)."""
        return pictures / self.node / 3600

    def nodes(self, pictures: int, hours: float) -> int:
        """So many nodes that all of it is done after so many hours."""
        return math.ceil(self.node_hours(pictures) / hours)


def decode_s() -> float:
    """Seconds of a node for each picture from file to pixels, all its threads at work: of the newest embedding finding."""
    newest = max(pages.REPORTS.glob("*/embedding-*.json"), key=lambda path: path.name)
    return float(json.loads(newest.read_text(encoding="utf-8"))["finding"]["preprocess_s"])


def rates() -> list[Rate]:
    """The image cells under reports/ with a time, newest first measured, fastest first; no harness, and no toy model."""
    from clip_bench.report.current import current
    from clip_bench.runfile import read

    runs = [read(path) for path in sorted(pages.REPORTS.glob("*/2*.json"), reverse=True)]
    rows = current(runs).to_dict("records")
    chosen = [
        row
        for row in rows
        if row["tower"] == "image"
        and row["throughput_avg"] > 0
        and row["backend"] != "null"
        and row["model"] != "shapes_tiny"
    ]
    decode = decode_s()
    found = [
        Rate(case=row["case"], encode=row["throughput_avg"], node=1 / (1 / row["throughput_avg"] + decode))
        for row in chosen
    ]
    return sorted(found, key=lambda each: -each.encode)


def table(price: float = PRICE) -> str:
    """The table of docs/scale.md, at so many dollars of an hour of a node."""
    from tabulate import tabulate

    few, many = PICTURES
    rows = [
        (
            each.case,
            f"{each.encode:.1f}",
            f"{each.node:.1f}",
            f"{each.node_hours(few):,.0f}",
            f"{price * each.node_hours(few):,.0f}",
            f"{each.nodes(few, DAY_H):,}",
            f"{price * each.node_hours(many):,.0f}",
            f"{each.nodes(many, 30 * DAY_H):,}",
        )
        for each in rates()
    ]
    return tabulate(rows, headers=HEADS, tablefmt="pipe", disable_numparse=True, colalign=("left", *("right",) * 7))


def stages() -> str:
    """The table of docs/scale.md on what each stage of a picture's way asks for, on three kinds of node."""
    from tabulate import tabulate

    fastest = rates()[0]
    nodes = fastest.nodes(PICTURES[1], 30 * DAY_H)
    decode, pixels = decode_s(), 3 * SIDE**2

    def moved(what: str, size: int) -> tuple[str, ...]:
        many, fast = f"{nodes * fastest.node * size / 1e9:,.2f} GB/s", f"{ACCELERATED * size / 1e9:,.2f} GB/s"
        return what, f"{size:,} bytes", f"{fastest.node * size / 1e6:,.2f} MB/s", many, fast

    rows = [
        ("encode", f"{1e3 / fastest.encode:.1f} ms of the node", f"{fastest.node / fastest.encode:.0%} of its time", "", "all of its time"),
        ("decode", f"{1e3 * CORES * decode:.1f} ms of a core", f"{fastest.node * decode:.0%} of its time", "", f"{ACCELERATED * CORES * decode:.0f} cores"),
        ("open files", "1", f"{fastest.node:.0f} /s", f"{nodes * fastest.node:,.0f} /s", f"{ACCELERATED:,} /s"),
        (f"open tar shards of {SHARD:,}", f"1 / {SHARD:,}", f"{fastest.node / SHARD:.3f} /s", f"{nodes * fastest.node / SHARD:.1f} /s", f"{ACCELERATED / SHARD:.1f} /s"),
        moved("read from the storage", PICTURE_BYTES),
        moved("pixels, where another node decodes", 4 * pixels),
        moved("the same, `folded`", pixels),
        moved("embeddings, to the head and to `DST`", 4 * WIDTH),
    ]  # fmt: skip
    heads = (
        "What",
        "For each picture",
        f"A node of the first row ({fastest.node:.0f} images/s)",
        f"{nodes:,} such nodes (10¹¹ in 30 days)",
        f"A node that encodes {ACCELERATED:,} images/s",
    )
    return tabulate(rows, headers=heads, tablefmt="pipe", disable_numparse=True)


def gathered(folder: Path, units: int) -> tuple[float, float]:
    """Rows per second that a head gathers and writes, and the bytes on the disk of one."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet

    from clip_bench.corpus.shards import Shards
    from clip_bench.corpus.sources import Kind, Unit
    from clip_bench.corpus.work import EMBEDDINGS

    random = np.random.default_rng(0)
    made = [
        Unit(kind=Kind.FILES, root="", names=tuple(f"{unit:06}/{row:06}.jpg" for row in range(SHARD)))
        for unit in range(units)
    ]
    shards = Shards.begun(folder, made, {"case": "synthetic"})
    calls = []
    for number, unit in enumerate(made):
        for first in range(0, SHARD, 128):
            rows = random.standard_normal((128, WIDTH), np.float32)
            calls.append(
                pa.table(
                    {
                        "unit": [number] * 128,
                        "row": range(first, first + 128),
                        "last": [row == SHARD - 1 for row in range(first, first + 128)],
                        "name": [name.encode() for name in unit.names[first : first + 128]],
                        "wrong": [b""] * 128,
                        "artifact": ["synthetic"] * 128,
                        "embedding": [row.tobytes() for row in rows],
                    },
                    EMBEDDINGS,
                )
            )
    began = time.perf_counter()
    written = sum(shard.rows for call in calls for shard in shards.add(call))
    seconds = time.perf_counter() - began
    return written / seconds, sum(path.stat().st_size for path in folder.glob("*.parquet")) / written


def manifest(folder: Path, pictures: int) -> tuple[float, int]:
    """Seconds that a head takes to write the manifest of so many *pictures*, and its bytes."""
    from clip_bench.corpus.shards import MANIFEST, Shard, Shards
    from clip_bench.corpus.sources import Kind, Unit

    count = math.ceil(pictures / SHARD)
    made = [Unit(kind=Kind.TAR, root="", names=(f"{number:08}.tar",)) for number in range(count)]
    shards = Shards(out=folder, units=made, recipe={})
    shards.written = {number: Shard(rows=SHARD, bad={}, sha256="0" * 64) for number in range(count)}
    began = time.perf_counter()
    shards.keep()
    return time.perf_counter() - began, (folder / MANIFEST).stat().st_size


@dataclass
class Nodes:
    """A thousand nodes that measure a cell at once, and tell what a measured cell told."""

    line: dict[str, Any]
    machine: dict[str, Any]
    living: list[Any] = field(default_factory=list)
    sent: int = 0

    def nodes(self) -> Sequence[Any]:
        """All of them."""
        return self.living

    def send(self, place: Any, task: object) -> int:  # noqa: ARG002
        """A number."""
        self.sent += 1
        return self.sent

    def ended(self, under_way: Sequence[int], seconds: float) -> Sequence[int]:  # noqa: ARG002
        """One of them."""
        return under_way[:1]

    def told(self, handle: int) -> Any:  # noqa: ARG002
        """The same as ever."""
        from clip_bench.fleet.node import Told

        return Told(line=self.line, machine=self.machine)


def scheduled(folder: Path, nodes: int, cells: int) -> tuple[float, float]:
    """Seconds that a head has for each cell of a fleet of so many *nodes*, and the bytes of its journal."""
    from clip_bench.fleet.cluster import Node
    from clip_bench.fleet.schedule import Cell, Schedule
    from clip_bench.journal import Journal

    newest = max(pages.REPORTS.glob("*/2*.json"), key=lambda path: len(json.loads(path.read_text("utf-8"))["outcomes"]))
    run = json.loads(newest.read_text(encoding="utf-8"))
    entry = next(each for each in run["outcomes"] if each["outcome"] == "ok" and each["record"]["timing"])
    cluster = Nodes(line={"entry": entry}, machine=run["machine_info"]["clip_bench"])
    cluster.living = [
        Node(id=f"{number}", host=f"10.0.{number // 250}.{number % 250}", offers=frozenset({"a-cpu"}))
        for number in range(nodes)
    ]
    path = folder / "run.jsonl"
    journal = Journal.opened(path, locked=True)
    try:
        began = time.perf_counter()
        Schedule(
            cluster=cluster,
            journal=journal,
            task=lambda cell: cell,  # type: ignore[arg-type, return-value]  nobody looks at it
            say=lambda _: None,
            waiting=deque(Cell(case=f"cell {number}", target="a-cpu") for number in range(cells)),
        ).run()
        return (time.perf_counter() - began) / cells, path.stat().st_size / cells
    finally:
        journal.close()


def head() -> Iterator[verdict.Row]:
    """The rows of the third table."""
    with TemporaryDirectory() as folder:
        rate, size = gathered(Path(folder), 16)
    yield verdict.row(what="embeddings gathered and written by one head", figure=f"{rate:,.0f} rows/s", holds=None)
    yield verdict.row(what="a row on the disk", figure=f"{size:,.0f} bytes", holds=None)
    yield verdict.row(
        what="nodes of the fastest cell that keep it busy", figure=f"{rate / rates()[0].node:,.0f}", holds=None
    )
    with TemporaryDirectory() as folder:
        seconds, size = manifest(Path(folder), PICTURES[0])
    told = f"{seconds:.2f} s, {size / 2**20:,.0f} MiB"
    yield verdict.row(what=f"the manifest of 10⁹ pictures, {SHARD} in a shard", figure=told, holds=None)
    with TemporaryDirectory() as folder:
        seconds, size = scheduled(Path(folder), NODES, CELLS)
    told = f"{1e3 * seconds:.1f} ms, {size / 2**10:,.0f} KiB of journal"
    yield verdict.row(what=f"a cell of a fleet of {NODES:,} nodes, on the head", figure=told, holds=None)
    most = NODES * seconds
    yield verdict.row(
        what=f"the shortest cell that keeps {NODES:,} nodes busy", figure=f"{most:.1f} s", holds=most <= SHORTEST_S
    )


if __name__ == "__main__":
    sys.stdout.write(f"{table(float(sys.argv[1]) if len(sys.argv) > 1 else PRICE)}\n\n{stages()}\n\n")
    sys.exit(verdict.show(list(head())))
