"""What a picture shows, of given labels: softmax over the scaled cosines, and the lines that say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip_bench import encoder
from clip_bench.answered import Fit, Labelled
from clip_bench.answers.encoders import Encoders
from clip_bench.answers.opening import prepared
from clip_bench.data import folders
from clip_bench.data.listing import Entry
from clip_bench.errors import UsageError
from clip_bench.models import feeds
from clip_bench.quality import metrics
from clip_bench.quality.predictions import probabilities

DIGITS = 12  # of a score that two labels of one embedding share, whatever the order of summation


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The scores of one picture, which sum to 1, and the cosines that they come from, in the order of the labels."""

    path: Path
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    cosines: tuple[float, ...]

    @property
    def file(self) -> str:
        """What the picture is called, as far as it can be printed."""
        return self.path.name.encode(errors="replace").decode()

    def told(self) -> Labelled:
        """The picture as a finding keeps it: its name without its folder, and every label, the best first."""
        fits = [Fit(label=self.labels[i], cosine=self.cosines[i], score=self.scores[i]) for i in self._order()]
        return Labelled(picture=self.file, labels=tuple(fits))

    def best(self, top: int) -> list[tuple[str, float]]:
        """The *top* labels with their scores, the best first; equal ones in their own order."""
        return [(self.labels[i], self.scores[i]) for i in self._order()[:top]]

    def lines(self, top: int) -> Iterator[str]:
        """As VastStreamX's clip_sample prints them, which counts 0th, 1th, 2th."""
        yield f"Top{top}:"
        for place, (label, score) in enumerate(self.best(top)):
            yield f"{place}th, string: {label}, score: {score:.6g}"

    def _order(self) -> list[int]:
        return [int(i) for i in np.argsort(-np.round(self.scores, DIGITS), kind="stable")]


def score(path: Path, labels: Sequence[str], encoders: Encoders, classes: NDArray[np.float64]) -> Answer:
    """The scores of the picture at *path* for *labels* with unit rows *classes*.

    Raises:
        UsageError: it cannot be opened, or an embedding is not finite, or has no direction.
    """
    change = feeds.transform(encoders.image.case.model)
    row, _ = prepared(Entry(name=str(path), stored=partial(folders.stored, path)), change)
    cosines = metrics.rank(encoder.stacked(encoders.image([row])), classes)[0]
    shares = probabilities(cosines, encoders.scale)
    if not np.isfinite(shares).all():
        msg = f"{path}: no score: an embedding is zero or not finite; pytest --benchmark-only tells what is wrong here"
        raise UsageError(msg)
    return Answer(path=path, labels=tuple(labels), scores=tuple(map(float, shares)), cosines=tuple(map(float, cosines)))
