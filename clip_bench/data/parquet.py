"""Parquet files through the ``datasets`` package: a column of pictures, and one of captions or of labels."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_bench import room
from clip_bench.data import NO_LABEL, classes
from clip_bench.data.listing import Entry, Listing
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.store import default_root

if TYPE_CHECKING:
    from datasets import Dataset

PICTURE = ("image", "img", "jpg", "png")
CAPTION = ("captions", "caption", "sentences", "text", "txt")
LABEL = ("label", "fine_label", "class", "cls")


def read(path: Path, root: Path | None) -> Listing:  # noqa: ARG001  every reader takes one
    """One parquet file, or all of a folder; captions win over labels where there are both.

    Labels are texts, or numbers whose names the file itself tells.

    Raises:
        UnavailableError: no ``datasets``.
        UsageError: no parquet, or the columns tell too little.
        StoreError: the cache, where the table is unpacked, is full or cannot be written.
    """
    table = _stored(path)
    picture, caption, label = (called(table.column_names, names) for names in (PICTURE, CAPTION, LABEL))
    if not picture or not (caption or label):
        msg = (
            f"{path}: columns {', '.join(table.column_names)}; needs one of {', '.join(PICTURE)}, "
            f"and one of {', '.join((*CAPTION, *LABEL))}"
        )
        raise UsageError(msg)
    given = table[caption or label]
    names = () if caption else _names(table, label, given, path)
    entries, problems = [], []
    for row, told in enumerate(given):
        name = f"row {row}"
        words = _words(told) if caption else ()
        number = NO_LABEL if caption else _number(told, names)
        if words or number != NO_LABEL:
            entries.append(Entry(name=name, stored=partial(_bytes, table, picture, row), label=number, captions=words))
        else:
            problems.append(f"{name}: {'no caption' if caption else 'no label'}")
    listing = Listing(
        name="parquet",
        entries=tuple(entries),
        expected=len(table),
        classes=names,
        templates=classes.of("imagenet").templates,
        problems=tuple(problems),
    )
    if not entries:
        msg = f"{path}: {listing.summary()}"
        raise UsageError(msg)
    return listing


def _stored(path: Path) -> Dataset:
    """The table, pictures left as bytes; it is kept, memory-mapped, in the cache."""
    try:
        from datasets import Image, disable_progress_bars
    except ImportError as exc:
        msg = "parquet needs the datasets package: pip install 'clip-bench[parquet]'"
        raise UnavailableError(msg) from exc
    disable_progress_bars()
    files = sorted(map(str, path.rglob("*.parquet"))) if path.is_dir() else [str(path)]
    if not files:
        msg = f"{path}: no *.parquet in it"
        raise UsageError(msg)
    root = default_root()
    try:
        with room.writable(root, f"table of {path.name}"):
            table = _unpacked(files, root / "datasets")
    except (OSError, ValueError, TypeError) as exc:
        msg = f"{path}: no parquet that can be read: {str(exc).splitlines()[0]}"
        raise UsageError(msg) from exc
    for name, feature in table.features.items():
        if isinstance(feature, Image):
            table = table.cast_column(name, Image(decode=False))
    return table


def _unpacked(files: list[str], folder: Path) -> Dataset:
    """The table of *files*, written into *folder* unless it is there.

    Raises:
        OSError: the system's own, which ``datasets`` hides in one that only says that something went wrong.
        ValueError: whatever else went wrong there.
    """
    from datasets import Dataset
    from datasets.exceptions import DatasetGenerationError

    try:
        return Dataset.from_parquet(files, cache_dir=str(folder))
    except DatasetGenerationError as exc:
        told = _apart(exc.__cause__ or exc)
    gc.collect()  # Arrow's threads that still read for what failed: one that does at Python's end aborts it
    raise told


def _apart(exc: BaseException) -> Exception:
    """The same without the frames that hold on to what it was reading."""
    if not isinstance(exc, OSError):
        return ValueError(str(exc))
    apart = OSError(*exc.args)
    apart.filename = exc.filename
    return apart


def called(columns: Iterable[str], names: Iterable[str]) -> str:
    """The first of *names* that is one of *columns*, in any case of letters; empty where none is."""
    found = {name.lower(): name for name in columns}
    return next((found[name] for name in names if name in found), "")


def stored(value: object) -> bytes:
    """A picture's bytes in a *value* of its column: these, or those of a struct as ``datasets`` writes it.

    Raises:
        ValueError: it holds none.
    """
    held = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(held, bytes):
        msg = "the row holds no picture's bytes"
        raise ValueError(msg)  # noqa: TRY004  the value of a file, not the type of an argument
    return held


def _bytes(table: Dataset, column: str, row: int) -> bytes:
    return stored(table[row][column])


def _names(table: Dataset, column: str, given: Iterable[object], path: Path) -> tuple[str, ...]:
    """The classes that the file tells, or that its labels are."""
    if told := getattr(table.features[column], "names", None):
        return tuple(name.replace("_", " ") for name in told)
    found = {each for each in given if each is not None}
    if not all(isinstance(each, str) for each in found):
        msg = f"{path}: the column {column} has numbers without names; store it as a ClassLabel, or as texts"
        raise UsageError(msg)
    return tuple(sorted(map(str, found)))


def _number(told: object, names: tuple[str, ...]) -> int:
    if isinstance(told, int) and 0 <= told < len(names):
        return told
    return names.index(told) if isinstance(told, str) and told in names else NO_LABEL


def _words(told: Any) -> tuple[str, ...]:  # noqa: ANN401  of any file
    """One caption, or several; of rows such as COCO's the ``raw`` text."""
    several = [told] if isinstance(told, str | Mapping) else list(told or ())
    texts = (each.get("raw", "") if isinstance(each, Mapping) else each for each in several)
    return tuple(filter(None, (" ".join(each.split()) for each in texts if isinstance(each, str))))
