"""From embeddings or logits to accuracies, each with the reference's own over the same samples beside it.

An output that cannot be compared (:func:`clip_bench.quality.metrics.comparable`) gives no score, and the gate says
why. Nor does a part without samples, or a top *k* that could not miss because there are too few rivals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.quality import metrics, values
from clip_bench.quality.metrics import Bools, Integers, Rows
from clip_bench.record import Answered, Score

TOPS = (1, 5)
RECALLS = (1, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """What the towers made of one data set, each (rows, width), not normalised; a part may have no rows.

    ``prompts`` has a row per class. A cell of one tower takes the other tower's parts from the reference.
    """

    images: Rows
    prompts: Rows
    captions: Rows

    def comparable(self, reference: Embeddings) -> bool:
        """Whether every part has the reference's shape and holds floats."""
        parts = (
            (self.images, reference.images),
            (self.prompts, reference.prompts),
            (self.captions, reference.captions),
        )
        return all(metrics.comparable(test, rows) for test, rows in parts)


def match_captions(captions: Sequence[str], owners: Integers, pictures: int) -> Bools:
    """Which captions are right for which pictures, (pictures, captions).

    ``owners[j]`` is the picture that caption *j* was written for; captions of equal text are right for each
    other's pictures too.
    """
    distinct, words = np.unique(np.asarray(captions, dtype=str), return_inverse=True)
    owned = np.zeros((pictures, len(distinct)), dtype=np.bool_)
    owned[owners, words] = True
    return owned[:, words]


def answer_towers(
    tested: Embeddings, reference: Embeddings, *, labels: Integers, positives: Bools
) -> tuple[Answered, ...]:
    """What each picture and each caption is answered: of that zero-shot top1 and top5, agreement, and retrieval t2i and i2t at 1, 5 and 10.

    *labels*, (pictures,), holds each picture's class, -1 where it has none; *positives*, (pictures, captions), comes
    from :func:`match_captions`. Top *k* is over the labelled pictures, agreement over all, because it needs no label;
    retrieval is among the pictures that have captions.

    Raises:
        ValueError: *labels* or *positives* do not fit the reference.
    """
    pictures, captions = len(reference.images), len(reference.captions)
    if labels.shape != (pictures,) or positives.shape != (pictures, captions):
        msg = (
            f"labels {labels.shape} and positives {positives.shape} must be ({pictures},) and ({pictures}, {captions})"
        )
        raise ValueError(msg)
    if not tested.comparable(reference):
        return ()
    return (*_classify(tested, reference, labels), *_retrieve(tested, reference, positives))


def answer_pair(logits: NDArray[Any], reference: Rows, answers: Integers) -> tuple[Answered, ...]:
    """Of top1 and agreement of a fused graph's logits, (n, texts); *answers*, (n,), are at random places.

    Raises:
        ValueError: *answers* does not fit the reference.
    """
    if not metrics.comparable(logits, reference):
        return ()
    return (*_tops(logits, reference, answers, (1,)), *_agree(logits, reference))


def summed(answered: Answered) -> tuple[Score, ...]:
    """The scores of what was answered, from its values per sample: one for each k, or the agreement.

    Raises:
        UsageError: what should be numbers is not.
    """
    own, reference = values.read(answered.own), values.read(answered.reference)
    if not answered.ks:
        return (Score(name=answered.name, value=metrics.alike(own, reference), reference=1.0, samples=len(own)),)
    return tuple(
        Score(
            name=f"{answered.name}{k}",
            value=metrics.share(own, k),
            reference=metrics.share(reference, k),
            samples=len(own),
        )
        for k in answered.ks
    )


def _classify(tested: Embeddings, reference: Embeddings, labels: Integers) -> tuple[Answered, ...]:
    test, expected = metrics.rank(tested.images, tested.prompts), metrics.rank(reference.images, reference.prompts)
    known = labels >= 0
    return (*_tops(test[known], expected[known], labels[known], TOPS), *_agree(test, expected))


def _retrieve(tested: Embeddings, reference: Embeddings, positives: Bools) -> tuple[Answered, ...]:
    pictures, captions = positives.any(axis=1), positives.any(axis=0)
    right = positives[np.ix_(pictures, captions)]
    test = metrics.rank(tested.images[pictures], tested.captions[captions])
    expected = metrics.rank(reference.images[pictures], reference.captions[captions])
    directions = (("t2i", test.T, expected.T, right.T), ("i2t", test, expected, right))
    return tuple(
        Answered(
            name=f"{direction}_r",
            ks=tuple(k for k in RECALLS if k <= (~targets).sum(axis=1).min()),
            own=values.told(metrics.places(ours, targets)),
            reference=values.told(metrics.places(theirs, targets)),
        )
        for direction, ours, theirs, targets in directions
        if len(targets) and (~targets).sum(axis=1).min()
    )


def _tops(test: Rows, expected: Rows, labels: Integers, ks: Sequence[int]) -> tuple[Answered, ...]:
    samples, classes = test.shape
    if not samples or classes < 2:  # noqa: PLR2004
        return ()
    own, reference = values.told(metrics.ranks(test, labels)), values.told(metrics.ranks(expected, labels))
    return (Answered(name="top", ks=tuple(k for k in ks if k < classes), own=own, reference=reference),)


def _agree(test: Rows, expected: Rows) -> tuple[Answered, ...]:
    samples, classes = test.shape
    if not samples or classes < 2:  # noqa: PLR2004
        return ()
    own, reference = values.told(metrics.predicted(test)), values.told(metrics.predicted(expected))
    return (Answered(name="agreement", ks=(), own=own, reference=reference),)
