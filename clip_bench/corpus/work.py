"""What the nodes of a cluster do for a corpus: one kind of worker reads and decodes, the other holds a session and encodes.

Between them, and back to who gathers, go tables of Arrow: a row for each picture, whatever became of it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice

import numpy as np
import pyarrow as pa

from clip_bench import embed, encoder, machine
from clip_bench.corpus.sources import Unit
from clip_bench.embed import Transform
from clip_bench.errors import ClipBenchError
from clip_bench.fleet.node import THREADS, restored
from clip_bench.settings import Settings
from clip_bench.specs import Case

CALLS = (2, 8)  # of an encoder at once, at the least and the most: the last one is filled up
HELD = 64 << 20  # bytes of pixels that go to an encoder at once, if they are no fewer calls
WHOSE = [  # the columns that tell of which picture a row is
    pa.field("unit", pa.int64()),
    pa.field("row", pa.int64()),
    pa.field("last", pa.bool_()),
    pa.field("name", pa.binary()),  # which need not be UTF-8
    pa.field("wrong", pa.binary()),  # empty where nothing is
]
PIXELS = pa.schema([*WHOSE, pa.field("kind", pa.string()), pa.field("pixels", pa.large_binary())])
EMBEDDINGS = pa.schema([*WHOSE, pa.field("artifact", pa.string()), pa.field("embedding", pa.binary())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The cell that encodes, and how; *threads* of a session, or None for as many as its node has cores."""

    case: Case
    settings: Settings
    batch: int
    preprocess: str
    threads: int | None

    @property
    def rows(self) -> int:
        """Pictures that go to an encoder at once."""
        least, most = CALLS
        size = 3 * self.case.model.image_size**2 * np.dtype(np.float32).itemsize * self.batch
        return self.batch * min(max(HELD // size, least), most)


def planned(units: Mapping[int, Unit]) -> list[dict[str, object]]:
    """A row for each of the numbered *units*, as :func:`decode` takes them."""
    return [{"unit": number, "what": pickle.dumps(unit)} for number, unit in units.items()]


def decode(several: pa.Table, task: bytes) -> Iterator[pa.Table]:
    """The pictures of *several* planned units as the pickled *task* takes them, a batch of them at a time."""
    transform, batch = _known(task)
    for number, what in zip(several["unit"].to_pylist(), several["what"].to_pylist(), strict=True):
        rows = _pixels(number, pickle.loads(what), transform)  # noqa: S301  our own, from the head
        while part := list(islice(rows, batch)):
            yield pa.Table.from_pylist(part, PIXELS)


@cache
def _known(task: bytes) -> tuple[Transform, int]:
    found: Task = pickle.loads(task)  # noqa: S301  our own, from the head
    return embed.transform_of(found.case, found.preprocess), found.batch


def _pixels(number: int, unit: Unit, transform: Transform) -> Iterator[dict[str, object]]:
    """A row for each picture of *unit*; the last one knows that it is."""
    before: dict[str, object] = {}
    for row, (name, held) in enumerate(unit.rows()):
        if before:
            yield before
        before = {"unit": number, "row": row, "last": False, "name": _bytes(name), **_decoded(held, transform)}
    yield before | {"last": True}


def _decoded(held: bytes | str, transform: Transform) -> dict[str, object]:
    pixels = embed.pixels_of(held, transform)
    if isinstance(pixels, str):
        return {"wrong": _bytes(pixels), "kind": "", "pixels": b""}
    kind = " ".join(map(str, (pixels.dtype.str, *pixels.shape)))
    return {"wrong": b"", "kind": kind, "pixels": pixels.tobytes()}


def _bytes(text: str) -> bytes:
    """A name or a reason, in which there may be what is no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


class Encode:
    """A worker that holds a session: a row for each row that it gets."""

    def __init__(self, task: bytes) -> None:
        """Load the cell of the pickled *task*; why it cannot be is told with the first rows: here it would be a death to Ray."""
        found: Task = pickle.loads(task)  # noqa: S301  our own, from the head
        restored(THREADS)
        settings = replace(found.settings, threads=found.threads or machine.cores())
        self._opened = encoder.opened(found.case, settings, batch=found.batch, instances=settings.threads)
        self._encode: encoder.Encoder | ClipBenchError
        try:
            self._encode = self._opened.__enter__()  # open until the worker ends
        except ClipBenchError as exc:
            self._encode = exc

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Embeddings in the place of pixels.

        Raises:
            ClipBenchError: as :func:`clip_bench.encoder.opened`.
        """
        if isinstance(self._encode, ClipBenchError):
            raise self._encode
        good = (
            np.frombuffer(held.as_buffer(), kind.as_py().split()[0]).reshape([*map(int, kind.as_py().split()[1:])])
            for held, kind in zip(rows["pixels"], rows["kind"], strict=True)
            if kind.as_py()
        )
        embeddings = self._encode(good)
        found = [b"" if wrong else next(embeddings).tobytes() for wrong in rows["wrong"].to_pylist()]
        artifact = [self._encode.artifact.key] * len(found)
        columns = {name: rows[name] for name in (field.name for field in WHOSE)}
        return pa.table({**columns, "artifact": artifact, "embedding": found}, EMBEDDINGS)
