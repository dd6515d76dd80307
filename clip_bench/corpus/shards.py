"""The shards of a corpus: gathered from rows in any order, written whole or not at all, and listed in a manifest.

A shard that the manifest does not list is made again, whatever became of its file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clip_bench import jsonfile, places
from clip_bench.corpus.sources import Unit
from clip_bench.embed import WRITTEN, Part
from clip_bench.errors import UsageError
from clip_bench.places import Place

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "_manifest.json"  # readers of a folder of Parquet pass over what begins so
LAYOUT = 1
KEPT_S = 10.0  # between two times that the manifest is written, at the least
PAUSES = 50  # times as long as it takes, at the least


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A written shard: its rows, its pictures that are left out and why, and the sha256 of its file, if it has rows."""

    rows: int
    bad: Mapping[str, str]
    sha256: str


@dataclass(slots=True)
class Gathering:
    """The rows of a unit that have come, some of them twice where a node died after it had told."""

    tables: list[pa.Table] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    count: int | None = None  # once its last row has come

    def add(self, rows: pa.Table) -> None:
        """Rows of :data:`clip_bench.corpus.work.EMBEDDINGS` that are of this unit."""
        self.tables.append(rows)
        self.seen.update(rows["row"].to_pylist())
        for last in rows.filter(rows["last"])["row"].to_pylist():
            self.count = last + 1

    @property
    def whole(self) -> bool:
        """Whether all have come."""
        return len(self.seen) == self.count

    def part(self) -> Part:
        """All of them, in order, each once."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = pa.concat_tables(self.tables)
        table = table.take(np.unique(table["row"].to_numpy(), return_index=True)[1])
        fine = pc.equal(pc.binary_length(table["wrong"]), 0)
        good, bad = table.filter(fine), table.filter(pc.invert(fine))
        names, reasons = (
            [each.decode("utf-8", "surrogateescape") for each in bad[key].to_pylist()] for key in ("name", "wrong")
        )
        held = np.frombuffer(b"".join(good["embedding"].to_pylist()), np.float32)
        return Part(
            files=good["name"].cast(pa.string()).to_pylist(),
            embeddings=held.reshape(len(good), -1) if len(good) else held,
            bad=dict(zip(names, reasons, strict=True)),
        )


@dataclass(slots=True, kw_only=True)
class Shards:
    """The shards in the folder *out* of *units*, embedded by *recipe*."""

    out: Place
    units: Sequence[Unit]
    recipe: dict[str, object]
    written: dict[int, Shard] = field(default_factory=dict)
    under_way: dict[int, Gathering] = field(default_factory=dict)
    _again: float = 0.0  # when the manifest may be written again

    @classmethod
    def begun(cls, out: Place, units: Sequence[Unit], recipe: Mapping[str, object]) -> Shards:
        """Those that the manifest in *out* lists, or none; *recipe* lacks what the workers tell.

        Raises:
            UsageError: they are of another recipe or of other pictures, *out* has Parquet files of somebody else, or it or its
            manifest cannot be read.
        """
        made = cls(out=out, units=units, recipe=dict(recipe))
        path = out / MANIFEST
        if not path.exists():
            if out.is_dir() and (found := places.inside(out, "*.parquet")):
                msg = f"{found[0]} is in no manifest of clip-bench: give an empty folder as -o"
                raise UsageError(msg)
            return made
        found = jsonfile.load(path, "give another -o")
        try:
            before, same = dict(found["recipe"]), found["units"] == made._digest()
            made.written = {int(number): Shard(**told) for number, told in found["shards"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            msg = f"{path}: no manifest of clip-bench ({type(exc).__name__}: {exc}); give another -o"
            raise UsageError(msg) from exc
        if any(before.get(key) != json.loads(json.dumps(value)) for key, value in recipe.items()):
            msg = f"{out} holds embeddings of another cell or preprocessing: give another -o"
            raise UsageError(msg)
        if not same:
            msg = f"{out} holds embeddings of other pictures, or in shards of another size: give another -o"
            raise UsageError(msg)
        made.recipe = before
        return made

    @property
    def left(self) -> dict[int, Unit]:
        """The units, by number, that have no shard yet."""
        return {number: unit for number, unit in enumerate(self.units) if number not in self.written}

    def name(self, number: int) -> str:
        """What the file of the unit *number* is called: in the order of the units, however many there are."""
        return f"{number:0{max(6, len(str(len(self.units))))}}.parquet"

    def add(self, rows: pa.Table) -> Iterator[Shard]:
        """Take *rows* of :data:`clip_bench.corpus.work.EMBEDDINGS`; each shard that they make whole is written and told.

        Raises:
            UsageError: a worker embedded by another artifact, or a shard cannot be written.
        """
        for artifact in rows["artifact"].unique().to_pylist():
            if self.recipe.setdefault("artifact", artifact) != artifact:
                msg = (
                    f"a node embeds with artifact {artifact}, others did with {self.recipe['artifact']}: their packages "
                    "differ; install the same ones, and give another -o"
                )
                raise UsageError(msg)
        units = rows["unit"].to_numpy()
        for number in map(int, np.unique(units)):
            if number in self.written:  # a node died after it had told: it was told again
                continue
            gathering = self.under_way.setdefault(number, Gathering())
            gathering.add(rows.filter(units == number))
            if gathering.whole:
                yield self._write(number, self.under_way.pop(number).part())
                if time.monotonic() >= self._again:
                    self.keep()

    def keep(self) -> None:
        """Write the manifest."""
        began = time.monotonic()
        found = {
            "layout": LAYOUT,
            "complete": not self.left,
            "recipe": self.recipe,
            "units": self._digest(),
            "shards": {str(number): asdict(self.written[number]) for number in sorted(self.written)},
        }
        _put(self.out / MANIFEST, json.dumps(found, indent=1).encode())
        self._again = began + max(KEPT_S, PAUSES * (time.monotonic() - began))

    def _write(self, number: int, part: Part) -> Shard:
        import pyarrow as pa
        import pyarrow.parquet as pq

        held = b""
        if part.files:
            stream = pa.BufferOutputStream()
            pq.write_table(part.table(self.recipe), stream, **WRITTEN)
            held = stream.getvalue().to_pybytes()
            _put(self.out / self.name(number), held)
        self.written[number] = Shard(
            rows=len(part.files), bad=part.bad, sha256=hashlib.sha256(held).hexdigest() if held else ""
        )
        return self.written[number]

    def _digest(self) -> dict[str, object]:
        """By which other units are told from these."""
        told = hashlib.sha256()
        for unit in self.units:
            told.update(json.dumps([unit.kind, *unit.names]).encode())
        return {"count": len(self.units), "sha256": told.hexdigest()}


def _put(place: Place, held: bytes) -> None:
    try:
        places.write(place, held)
    except OSError as exc:
        msg = f"{place}: {exc.strerror or exc}; what is written is kept: give the same command again once it can be written"
        raise UsageError(msg) from exc
