"""Predictions, a line for each picture, and the figures that follow from them alone.

A line has tabs between its parts: the file, the number of its class, and the best five classes, each as NUMBER:SCORE,
the best first. A picture without an answer has no classes. Lines that begin with # tell what was done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clip_bench.errors import UsageError

KEPT = 5
BEST = re.compile(r"(?P<number>\d+):(?P<score>[0-9.e+-]+)")
HEAD = re.compile(r"# (?P<key>case|classes): (?P<value>.+)")
FORM = "a line is FILE, LABEL and up to five NUMBER:SCORE with tabs between, as clip-bench evaluate writes them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The *best* classes of one picture with their scores; none where it has no clear answer."""

    file: str
    label: int
    best: tuple[tuple[int, float], ...]

    def __str__(self) -> str:
        name = "".join(letter if letter.isprintable() else "?" for letter in self.file)
        return "\t".join([name, str(self.label), *(f"{number}:{score:.6g}" for number, score in self.best)])


@dataclass(slots=True)
class Tally:
    """How many pictures there were, how often the right class was first or among five, and how many had no answer."""

    pictures: int = 0
    first: int = 0
    among: int = 0
    silent: int = 0

    def add(self, prediction: Prediction) -> None:
        """Count one more."""
        numbers = [number for number, _ in prediction.best]
        self.pictures += 1
        self.first += numbers[:1] == [prediction.label]
        self.among += prediction.label in numbers
        self.silent += not numbers

    def lines(self, name: str, classes: int) -> Iterator[str]:
        """The figures in %, as VastStreamX's eval_topk prints them; no top-5 where it could not miss.

        Raises:
            UsageError: there was no picture.
        """
        if not self.pictures:
            msg = f"{name}: no prediction, so no figure"
            raise UsageError(msg)
        top5 = f" top5_rate: {100 * self.among / self.pictures:g}" if classes > KEPT else ""
        yield f"[{name}]: top1_rate: {100 * self.first / self.pictures:g}{top5}"
        yield f"{self.pictures:,} pictures, {classes:,} classes; {self.silent:,} without an answer"


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
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if head := HEAD.fullmatch(line.rstrip("\n")):
                    told[head["key"]] = head["value"]
                elif line.strip() and not line.startswith("#"):
                    found = _prediction(line, f"{path}, line {number}")
                    counted.add(found)
                    highest = max(highest, found.label, *(each for each, _ in found.best), 0)
    except OSError as exc:
        msg = f"{path}: {exc.strerror or exc}"
        raise UsageError(msg) from exc
    given = told.get("classes", "")
    classes = int(given) if given.isdecimal() else highest + 1
    if highest >= classes:
        msg = f"{path}: a class with the number {highest}, of {classes} that are counted from 0; {FORM}"
        raise UsageError(msg)
    return told.get("case", path.stem), classes, counted


def _prediction(line: str, where: str) -> Prediction:
    file, *rest = line.rstrip("\r\n").split("\t")
    label, best = rest[:1], [BEST.fullmatch(part) for part in rest[1:]]
    if not file or not label or not label[0].isdecimal() or len(best) > KEPT or not all(best):
        msg = f"{where}: {line.strip()[:80]!r}; {FORM}"
        raise UsageError(msg)
    numbers = [match["number"] for match in best if match]
    if len(set(numbers)) != len(numbers):
        msg = f"{where}: a class twice; {FORM}"
        raise UsageError(msg)
    try:
        scored = tuple((int(match["number"]), float(match["score"])) for match in best if match)
    except ValueError as exc:
        msg = f"{where}: a score that is no number; {FORM}"
        raise UsageError(msg) from exc
    return Prediction(file=file, label=int(label[0]), best=scored)


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
