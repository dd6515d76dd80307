"""What is predicted of pictures: shares of given classes, predictions as lines, and the figures that follow from them alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UsageError

KEPT = 5
BEST = re.compile(r"(?P<number>\d{1,9}):(?P<score>[0-9.e+-]{1,40})")
LABEL = re.compile(r"\d{1,9}")
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


def probabilities(cosines: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """The softmax of *scale* times *cosines*, along the last axis; NaN where a cosine is."""
    logits = scale * np.asarray(cosines, np.float64)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def parsed(line: str, where: str) -> Prediction:
    """The prediction that *line* is the text of; *where* it stands, for a message.

    Raises:
        UsageError: it is not of the form.
    """
    file, *rest = line.rstrip("\r\n").split("\t")
    label, best = rest[:1], [BEST.fullmatch(part) for part in rest[1:]]
    if not file or not label or not LABEL.fullmatch(label[0]) or len(best) > KEPT or not all(best):
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
