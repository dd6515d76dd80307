"""The witness of a file: a hash of each of its parts, each with the one before, so that an edit is found and named.

A file of a run or of a finding ends with ``"witness"``: ``links``, a name and a sha256 for the file's own facts (machine,
versions, time) and for each cell (its record and its row of pytest-benchmark), and ``head``, the last of them. A link is
the hash of the link before, the name, and the part's JSON with sorted keys. Tables print the head, so that who edits a
file and links it anew changes what the tables say. A witness is no signature: who makes all files again, tables too,
is found only by someone who kept the head.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

KEY = "witness"
SCHEMA = 1
SHOWN = 16  # hexadecimal digits of a head in a table
OWN = "the file's own facts"
OTHERS = "rows of no cell"
APART = ("outcomes", "benchmarks", KEY)

Data = Mapping[str, Any]


def seal(data: dict[str, Any]) -> None:
    """Add the witness of *data*, what a JSON file is about to hold, in place of one that it has."""
    links, before = [], ""
    for name, part in _parts(data):
        before = _link(before, name, part)
        links.append([name, before])
    data[KEY] = {"schema": SCHEMA, "links": links, "head": before}


def head(data: Data) -> str:
    """The head that a file tells; empty where it has no witness."""
    told = data.get(KEY)
    found = told.get("head") if isinstance(told, dict) else None
    return found if isinstance(found, str) else ""


def faults(data: Data) -> list[str]:
    """What of *data* is not as it was sealed, a line each; empty where all is.

    A part is held against its own link and the one before as the file has them, so that one edit is one line.
    """
    told = data.get(KEY)
    if not isinstance(told, dict) or told.get("schema") != SCHEMA or not isinstance(told.get("links"), list):
        return ["it has no witness, so nothing tells whether it was edited; measure it again with this version"]
    links = [each if isinstance(each, list) and each else [None] for each in told["links"]]
    parts = list(_parts(data))
    if [name for name, *_ in links] != [name for name, _ in parts]:
        return ["its cells are not those that were sealed: one was added, taken away, renamed or moved"]
    found, before = [], ""
    for (name, part), (_, *sealed) in zip(parts, links, strict=True):
        if sealed != [_link(before, name, part)]:
            found.append(f"{name}: it, or its link in the witness, was edited after it was measured")
        before = str(sealed[0]) if sealed else ""
    if told.get("head") != before:
        found.append("the witness's head is not its last link")
    return found


def rows(data: Data) -> dict[str, list[Any]]:
    """The rows of pytest-benchmark in *data* by the cell that each is of, which nobody checked; no name for what is no row."""
    found: dict[str, list[Any]] = {}
    for row in _list(data.get("benchmarks")):
        found.setdefault(_told(row, "param"), []).append(row)
    return found


def _parts(data: Data) -> Iterator[tuple[str, Any]]:
    """The parts of a file by name: its own facts, each cell, and at last what belongs to no cell."""
    timed = rows(data)
    yield OWN, {name: value for name, value in data.items() if name not in APART}
    for entry in _list(data.get("outcomes")):
        name = _told(entry, "case")
        yield name, [entry, timed.pop(name, [])]
    if timed:
        yield OTHERS, timed


def _list(value: object) -> list[Any]:
    """A list as it is, nothing as an empty one, and anything else as the only item of one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _told(part: object, name: str) -> str:
    return str(part.get(name)) if isinstance(part, Mapping) else ""


def _link(before: str, name: str, part: object) -> str:
    """As it will be read again: what JSON has no type for is text."""
    plain = json.loads(json.dumps(part, default=str))
    told = json.dumps([before, name, plain], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()
