"""Caption files: JSON or CSV to the captions of each file they name, which stays unopened."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from clip_bench import files
from clip_bench.errors import UsageError

SUFFIXES = (".csv", ".json")
FILE_KEYS = ("file", "image", "filename")
ACCEPTED = 'captions are JSON [{"file": "a.jpg", "captions": ["…"]}, …] or CSV with the columns file and caption'


def parse(path: Path, suffix: str = "") -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The captions by file name, in the file's order, and what is wrong with single rows.

    Rows of one file are merged. Names are relative, with forward slashes, whatever system wrote them; one that
    could leave the folder is a problem. Captions are as written, without white space around them. *suffix* tells the
    form of a file whose name does not.

    Raises:
        UsageError: *path* cannot be read as JSON or CSV of an accepted form.
    """
    found: dict[str, tuple[str, ...]] = {}
    problems = []
    try:
        for where, row in _rows(path, suffix or path.suffix.lower()):
            try:
                name = _file(row)
                found[name] = found.get(name, ()) + _captions(row, name)
            except ValueError as exc:
                problems.append(f"{path.name}, {where}: {exc}")
    except (OSError, ValueError, RecursionError, csv.Error) as exc:
        msg = f"{path}: {getattr(exc, 'strerror', None) or exc}; {ACCEPTED}"
        raise UsageError(msg) from exc
    return found, tuple(problems)


def _rows(path: Path, suffix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with its place; the byte order mark that Windows tools write is no part of the first."""
    if suffix not in SUFFIXES:
        msg = "neither JSON nor CSV by its name"
        raise ValueError(msg)
    stored = files.read(path).decode("utf-8-sig")
    yield from _csv_rows(io.StringIO(stored, newline="")) if suffix == ".csv" else _json_rows(stored)


def _json_rows(source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = json.loads(source)
    if not isinstance(rows, list):
        msg = "not a list of rows"
        raise ValueError(msg)  # noqa: TRY004  the value of a file, not the type of an argument
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row if isinstance(row, dict) else {}


def _csv_rows(lines: Iterator[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(lines, strict=True)
    columns = reader.fieldnames or ()
    if "caption" not in columns or not set(FILE_KEYS).intersection(columns):
        msg = f"columns {', '.join(columns) or 'missing'}"
        raise ValueError(msg)
    for row in reader:
        yield f"line {reader.line_num}", row


def _file(row: Mapping[str, Any]) -> str:
    """The row's file as a path inside the data; Windows rules, because they know both separators and drives."""
    name = next((row[key] for key in FILE_KEYS if row.get(key)), None)
    if not isinstance(name, str):
        msg = "no file"
        raise ValueError(msg)  # noqa: TRY004  the value of a row, not the type of an argument
    return inside(name)


def inside(name: str) -> str:
    """*name* as a path inside the data, with forward slashes.

    Raises:
        ValueError: it could leave the data's folder.
    """
    path = PureWindowsPath(name.strip())
    if path.anchor or ".." in path.parts:
        msg = f"{name!r} leaves the data folder"
        raise ValueError(msg)
    return path.as_posix()


def whole(text: str) -> str:
    """*text* as UTF-8 can hold it: half a character, which JSON can spell, becomes a question mark."""
    return text.encode(errors="replace").decode()


def _captions(row: Mapping[Any, Any], name: str) -> tuple[str, ...]:
    if None in row:  # where csv.DictReader puts fields beyond the last column
        msg = f"{name}: more fields than columns: put a caption with commas in quotes"
        raise ValueError(msg)
    given = row.get("captions") or row.get("caption") or ()
    given = (given,) if isinstance(given, str) else given
    if not isinstance(given, list | tuple) or not all(isinstance(caption, str) for caption in given):
        msg = f"{name}: captions that are no strings"
        raise ValueError(msg)
    captions = tuple(filter(None, (whole(caption).strip() for caption in given)))
    if not captions:
        msg = f"{name}: no caption"
        raise ValueError(msg)
    return captions
