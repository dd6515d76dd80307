"""Embeddings of a folder of pictures, in a Parquet file: decoding beside inference, in bounded memory, to be resumed.

Rows are in the order of the files' names; files that come later are added at the end. What is done lies in a folder
beside the output, in parts of so many files each, written whole or not at all; the last step joins them. A run that
finds parts of the same recipe goes on after them.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clip_bench import preprocess
from clip_bench.data import folders
from clip_bench.encoder import Embed
from clip_bench.errors import UsageError
from clip_bench.files import below, whole
from clip_bench.specs import Case, Rewrite

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
PART = 1024  # files; what a killed run loses at most
AHEAD = 2  # batches that are decoded before they are needed
WRITTEN: dict[str, Any] = {
    "use_dictionary": ["file"]
}  # no two embeddings are alike: to look for that takes as long as to write
ODD_NAME = "its name is no UTF-8, which Parquet takes alone: rename it"
NOTE = b"clip_bench"  # the key of the schema's metadata

Transform = Callable[[bytes], NDArray[Any]]
Row = tuple[str, NDArray[Any] | str]  # a file, and its pixels or what is wrong with it


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run did: files now and before, seconds from the first file read to the last row written, bad files."""

    images: int = 0
    before: int = 0
    seconds: float = 0.0
    bad: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """SOPHON's lines, and the files that were left out."""
        yield "------------------ Image Encode Time Info ----------------------"
        yield f"Total images: {self.images}" + (f" ({self.before} more were done before)" if self.before else "")
        yield f"Total time use: {1e3 * self.seconds:.2f}ms"
        if self.images:
            yield f"Avg time use: {1e3 * self.seconds / self.images:.2f}ms"
            yield f"{self.images / self.seconds:.2f} FPS"
        for name, reason in self.bad.items():
            yield f"left out: {name}: {reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """Seconds per picture of each half of the work alone, with all threads that it has: from file to pixels, and calls."""

    preprocess_s: float
    inference_s: float

    @property
    def bound(self) -> float:
        """Pictures per second where both take turns, as on a CPU, whose cores they share."""
        return 1 / (self.preprocess_s + self.inference_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to embed, where to, and how: *recipe* is what the rows depend on, told in the file's metadata."""

    folder: Path
    out: Path
    recipe: Mapping[str, object]
    transform: Transform
    batch: int
    workers: int
    part: int = PART

    @property
    def parts(self) -> Path:
        """Where the parts are kept until all are there."""
        return self.out.with_name(f"{self.out.name}.parts")


def listed(folder: Path) -> list[str]:
    """The pictures below *folder* by their names, relative, with forward slashes, in order; hidden ones are passed over.

    Raises:
        UsageError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder; give one of pictures (shards need --ray: docs/corpus.md)"
        raise UsageError(msg)
    found = below(folder)
    names = [name for name in found if Path(name).suffix.lower() in SUFFIXES]
    if not names:
        msg = f"{folder}: none of its {len(found)} files is called {', '.join(sorted(SUFFIXES))}"
        raise UsageError(msg)
    return names


def run(plan: Plan, encode: Embed, progress: Callable[[int], object] = lambda _: None) -> Summary:
    """Embed what is not done yet, and join the parts; *progress* gets the number of files each time some are done.

    Raises:
        UsageError: the folder has no picture, or the output or its parts are of another recipe.
    """
    names, before = listed(plan.folder), _begun(plan)
    summary = Summary(before=len(before.files), bad=dict(before.bad))
    left = [name for name in names if name not in before.files and name not in before.bad]
    if left and plan.out.exists():  # files that came later: what is there becomes the first part
        plan.parts.mkdir()
        plan.out.replace(plan.parts / f"{0:06}.parquet")
    progress(len(names) - len(left))
    began = time.perf_counter()
    with ThreadPoolExecutor(plan.workers) as pool:
        done = encoded(decoded(left, plan, pool), encode)
        for number, rows in enumerate(iter(lambda: list(islice(done, plan.part)), []), start=before.parts):
            part = Part.of(rows)
            part.write(plan.parts / f"{number:06}.parquet", plan.recipe)
            summary.images += len(part.files)
            summary.bad.update(part.bad)
            progress(len(rows))
    summary.seconds = time.perf_counter() - began
    if not plan.out.exists():
        _join(plan, summary)
    return summary


def decoded(names: Sequence[str], plan: Plan, pool: ThreadPoolExecutor) -> Iterator[Row]:
    """Each file's pixels, or what is wrong with it, in order; *pool* is ahead by some batches."""
    waiting: deque[tuple[str, Future[NDArray[Any] | str]]] = deque()
    for name in names:
        waiting.append((name, pool.submit(_read, plan.folder, name, plan.transform)))
        if len(waiting) > AHEAD * plan.batch + plan.workers:
            first, future = waiting.popleft()
            yield first, future.result()
    for name, future in waiting:
        yield name, future.result()


def encoded(rows: Iterable[Row], encode: Embed) -> Iterator[Row]:
    """Each file's embedding, or what is wrong with it, in order; *encode* takes the good ones alone."""
    under_way: deque[tuple[str, str]] = deque()  # files, and what is wrong with each

    def pixels() -> Iterator[NDArray[Any]]:
        for name, found in rows:
            under_way.append((name, found if isinstance(found, str) else ""))
            if not isinstance(found, str):
                yield found

    for embedding in encode(pixels()):
        while under_way[0][1]:
            yield under_way.popleft()
        yield under_way.popleft()[0], embedding
    yield from under_way


def halves(plan: Plan, encode: Embed, names: Sequence[str], clock: Callable[[], float] = time.perf_counter) -> Halves:
    """What *names*, files that can be read, take each half alone; calls take the first pictures in turn.

    Raises:
        UsageError: none can be read.
    """
    some: list[NDArray[Any]] = []
    began = clock()
    with ThreadPoolExecutor(plan.workers) as pool:
        for name, found in decoded(names, plan, pool):
            if isinstance(found, str):
                msg = f"{name}: {found}"
                raise UsageError(msg)
            some += [found] if len(some) < plan.batch else []
    preprocess_s = (clock() - began) / len(names)
    for _ in encode(some):  # the first calls allocate
        pass
    began = clock()
    count = sum(1 for _ in encode(islice(cycle(some), len(names))))
    return Halves(preprocess_s=preprocess_s, inference_s=(clock() - began) / count)


def transform_of(case: Case, name: str) -> Transform:
    """The preprocessing *name*, from a picture's file to what *case* takes; raises as :func:`preprocess.transform`."""
    return preprocess.transform(name, case.model, pixels=Rewrite.FOLDED in case.variant.rewrites)


def stored(name: str, read: Callable[..., bytes], *where: object) -> bytes | str:
    """What *read* finds *where* the picture called *name* lies, or why there is none."""
    try:
        name.encode()
        return read(*where)
    except UnicodeEncodeError:
        return ODD_NAME
    except OSError as exc:
        return exc.strerror or str(exc)


def pixels_of(held: bytes | str, transform: Transform) -> NDArray[Any] | str:
    """The picture in *held* as the model takes it, or why there is none."""
    if isinstance(held, str):
        return held
    try:
        return transform(held)
    except UsageError as exc:
        return str(exc)


def _read(folder: Path, name: str, transform: Transform) -> NDArray[Any] | str:
    return pixels_of(stored(name, folders.stored, folder / name), transform)


@dataclass(frozen=True, slots=True)
class Begun:
    """What earlier runs did: files with an embedding, bad ones with the reason, and the number of parts."""

    files: frozenset[str] = frozenset()
    bad: Mapping[str, str] = field(default_factory=dict)
    parts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """So many files, in order: those with an embedding, (n, width), and the bad ones."""

    files: Sequence[str]
    embeddings: NDArray[np.float32]
    bad: Mapping[str, str]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Part:
        """That of *rows*."""
        good = [(name, found) for name, found in rows if not isinstance(found, str)]
        return cls(
            files=[name for name, _ in good],
            embeddings=np.array([found for _, found in good], np.float32),
            bad={name: found for name, found in rows if isinstance(found, str)},
        )

    def table(self, recipe: Mapping[str, object]) -> pa.Table:
        """The files with their embeddings; the bad ones are in its metadata."""
        import pyarrow as pa

        width = self.embeddings.shape[-1] if self.files else 0
        rows = pa.FixedSizeListArray.from_arrays(pa.array(self.embeddings.ravel()), max(width, 1))
        columns = {"file": pa.array(self.files, pa.string()), "embedding": rows}
        return pa.table(columns).replace_schema_metadata(_noted(recipe, self.bad))

    def write(self, path: Path, recipe: Mapping[str, object]) -> None:
        """Whole or not at all."""
        import pyarrow.parquet as pq

        with whole(path) as partial:
            pq.write_table(self.table(recipe), partial, **WRITTEN)


def _noted(recipe: Mapping[str, object], bad: Mapping[str, str]) -> dict[bytes, bytes]:
    return {NOTE: json.dumps({"recipe": recipe, "bad": bad}).encode()}


def _note(schema: pa.Schema) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((schema.metadata or {}).get(NOTE, b"{}"))
    return found


def _begun(plan: Plan) -> Begun:
    """What is done of *plan*: in the output if that is whole, else in the parts.

    Raises:
        UsageError: it is of another recipe, or no file of ours, or none at all.
    """
    if plan.out.exists() and not plan.out.is_file():
        msg = f"{plan.out} is no regular file: give another -o"
        raise UsageError(msg)
    if plan.out.exists():
        paths = [plan.out]
        shutil.rmtree(plan.parts, ignore_errors=True)  # it was killed after it had joined them
    elif plan.parts.is_dir():
        paths = sorted(plan.parts.glob("*.parquet"))
    else:
        return Begun()
    import pyarrow as pa
    import pyarrow.parquet as pq

    files: list[str] = []
    bad: dict[str, str] = {}
    for path in paths:
        try:
            note = _note(pq.read_schema(path))
            files += pq.read_table(path, columns=["file"])["file"].to_pylist()
        except (OSError, pa.ArrowException, KeyError) as exc:
            msg = f"{path} cannot be read: {exc}; remove it, or give another -o"
            raise UsageError(msg) from exc
        if note.get("recipe") != json.loads(json.dumps(plan.recipe)):
            msg = f"{path} holds embeddings of another cell or preprocessing: remove it, or give another -o"
            raise UsageError(msg)
        bad |= note["bad"]
    return Begun(frozenset(files), bad, len(paths))


def _join(plan: Plan, summary: Summary) -> None:
    """The parts in one file, one row group each, and the parts removed."""
    import pyarrow.parquet as pq

    paths = sorted(plan.parts.glob("*.parquet"))
    full = [path for path in paths if pq.read_metadata(path).num_rows]
    if not full:
        shutil.rmtree(plan.parts)
        name, reason = next(iter(summary.bad.items()))
        msg = f"{plan.folder}: no picture could be read; the first: {name}: {reason}"
        raise UsageError(msg)
    schema = pq.read_schema(full[0]).with_metadata(_noted(plan.recipe, summary.bad))
    with whole(plan.out) as partial, pq.ParquetWriter(partial, schema, **WRITTEN) as writer:
        for path in full:
            writer.write_table(pq.read_table(path).replace_schema_metadata(schema.metadata))
    shutil.rmtree(plan.parts)
