"""What a cell answered on pictures, as findings keep it: the labels that fit, and the classes that were predicted.

Both keep what each figure follows from, so that it can be computed again: cosines for scores, a line for each prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How well a label fits: the cosine, and the share of a softmax over all labels of the picture."""

    label: str
    cosine: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A picture by its name without its folder, and every label, the best first."""

    picture: str
    labels: tuple[Fit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """Which of some labels fits each picture; *scale* is what a cosine is multiplied by before the softmax."""

    case: str
    title: str
    random_weights: bool
    scale: float
    pictures: tuple[Labelled, ...]
    left_out: tuple[str, ...] = ()
    kind: Literal["score"] = "score"

    @property
    def about(self) -> object:
        """What a later finding on the same takes the place of."""
        return self.case, tuple((each.picture, frozenset(fit.label for fit in each.labels)) for each in self.pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Zero-shot classification of some *data* whose number of classes is *classes*.

    *predictions* are lines as :class:`clip_bench.quality.predictions.Prediction` makes them, and the counts follow from
    them: how many *pictures* there were, of how many the right class was *first* or *among* five, how many were *silent*.
    """

    case: str
    title: str
    target: str
    random_weights: bool
    data: str
    prompts: str
    classes: int
    pictures: int
    first: int
    among: int
    silent: int
    predictions: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    kind: Literal["evaluate"] = "evaluate"

    @property
    def about(self) -> object:
        """What a later finding on the same takes the place of."""
        return self.case, self.data, self.prompts
