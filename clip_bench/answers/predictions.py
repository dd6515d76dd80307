"""Files of predictions, a line for each picture.

A line has tabs between its parts: the file, the number of its class, and the best five classes, each as NUMBER:SCORE,
the best first. A picture without an answer has no classes. Lines that begin with # tell what was done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from clip_bench import files
from clip_bench.errors import UsageError
from clip_bench.quality.predictions import FORM, Tally, parsed

COUNT = re.compile(r"\d{1,9}")  # Python itself refuses to read a number of thousands of digits
HEAD = re.compile(r"# (?P<key>case|classes): (?P<value>.+)")


def header(case: str, data: str, classes: int, prompts: str) -> Iterator[str]:
    """The lines before the first prediction."""
    yield f"# case: {case}"
    yield f"# data: {data}"
    yield f"# classes: {classes}"
    yield f"# prompts: {prompts}"


def tally(path: Path) -> tuple[str, int, Tally]:
    """The case, the number of classes and the counts of the predictions in *path*.

    Where the file does not tell, the case is its name, and the classes are those that it names.

    Raises:
        UsageError: the file cannot be read, or a line is not of the form; the line is named.
    """
    told: dict[str, str] = {}
    counted, highest = Tally(), -1
    try:
        for number, line in enumerate(files.text(path, "replace").split("\n"), start=1):
            if head := HEAD.fullmatch(line):
                told[head["key"]] = head["value"]
            elif line.strip() and not line.startswith("#"):
                found = parsed(line, f"{path}, line {number}")
                counted.add(found)
                highest = max(highest, found.label, *(each for each, _ in found.best), 0)
    except OSError as exc:
        msg = f"{path}: {exc.strerror or exc}; give what clip-bench evaluate --predictions wrote"
        raise UsageError(msg) from exc
    given = told.get("classes", "")
    classes = int(given) if COUNT.fullmatch(given) else highest + 1
    if highest >= classes:
        msg = f"{path}: a class with the number {highest}, of {classes} that are counted from 0; {FORM}"
        raise UsageError(msg)
    return told.get("case", path.stem), classes, counted


def write(path: Path, lines: Iterable[str]) -> None:
    """Write *lines* to *path* as they come, and give it its name at the end: until then it is PATH.part.

    Raises:
        UsageError: the file cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", errors="replace") as file:
            for line in lines:
                file.write(f"{line}\n")
        part.replace(path)
    except OSError as exc:
        msg = f"{path}: {exc.strerror or exc}; name a file in a folder that can be written"
        raise UsageError(msg) from exc
