"""Zero-shot classification of a whole data set, a batch of pictures in memory at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from clip_bench.answers.encoders import Encoders
from clip_bench.answers.opening import Change, prepared
from clip_bench.data import NO_LABEL, sets
from clip_bench.data.listing import Entry, Listing, ranked
from clip_bench.errors import UsageError
from clip_bench.evaluation import CALIBRATION_SAMPLES
from clip_bench.models import feeds
from clip_bench.options import SAMPLES
from clip_bench.quality import metrics
from clip_bench.quality.predictions import KEPT, Prediction, probabilities
from clip_bench.settings import Settings
from clip_bench.specs import Case, Precision

TOGETHER = 32  # embeddings that are compared with the classes at once
CALIBRATED = frozenset({Precision.INT8_QDQ, Precision.INT8_NNCF, Precision.INT8_VENDOR, Precision.A16W8})


def labelled(listing: Listing, most: int | None) -> tuple[Entry, ...]:
    """The entries of *listing* that have a class, in its order; where only *most* are wanted, in that of a draw.

    A draw depends on names alone, so that it is the same everywhere.

    Raises:
        UsageError: there are no classes, or only one.
    """
    if len(listing.classes) < 2 or all(entry.label == NO_LABEL for entry in listing.entries):  # noqa: PLR2004
        msg = (
            f"{listing.name} has captions and no classes; evaluate takes imagenet, cifar100, mini_imagenet, or folders"
        )
        raise UsageError(msg)
    entries = [entry for entry in listing.entries if entry.label != NO_LABEL]
    return tuple(entries if most is None else (entries[row] for row in ranked(entries)))


def reserved(settings: Settings, cases: Iterable[Case]) -> frozenset[str]:
    """The sha256 of the pictures that *cases* are calibrated on, which must not be classified by them."""
    if settings.data is None or not any(case.precision in CALIBRATED for case in cases):
        return frozenset()
    n = settings.samples or SAMPLES
    spent, _ = sets.split(settings.data_kind, settings.data, settings.data_root, CALIBRATION_SAMPLES, n)
    return frozenset(picture.sha256 for picture in spent.pictures)


def predictions(
    encoders: Encoders,
    classes: NDArray[np.float64],
    twins: NDArray[np.intp],
    entries: Sequence[Entry],
    spent: frozenset[str],
    left_out: list[str],
    most: int | None = None,
) -> Iterator[Prediction]:
    """A prediction for each of *entries* that can be opened and is not *spent*, or for the first *most* of these.

    *left_out* grows by those that cannot be opened.
    """
    change, under_way = feeds.transform(encoders.image.case.model), deque[Entry]()

    def rows() -> Iterator[NDArray[np.float32]]:
        for entry, row in islice(_opened(entries, change, spent, left_out), most):
            under_way.append(entry)
            yield row

    embeddings = encoders.image(rows())
    while part := list(islice(embeddings, TOGETHER)):
        for cosines in metrics.rank(np.stack(part), classes):
            entry = under_way.popleft()
            yield Prediction(file=entry.name, label=entry.label, best=best(cosines, twins, encoders.scale))


def twins_of(texts: Sequence[Sequence[str]]) -> NDArray[np.intp]:
    """A number for each class that classes of the same texts share, as ImageNet's two called sunglasses do."""
    known: dict[tuple[str, ...], int] = {}
    return np.array([known.setdefault(tuple(several), len(known)) for several in texts], np.intp)


def best(cosines: NDArray[np.float64], twins: NDArray[np.intp], scale: float) -> tuple[tuple[int, float], ...]:
    """The best five classes with their softmax scores, equal ones in the order of their numbers.

    None where a cosine is no number, or where the best ties with a class of another text: then argmax would be no
    answer. Classes of one number in *twins* may tie (:func:`twins_of`).
    """
    if not np.isfinite(cosines).all():
        return ()
    order = np.argsort(-cosines, kind="stable")
    top = cosines[order[0]]
    if (twins[cosines >= top - metrics.TIE * abs(top)] != twins[order[0]]).any():
        return ()
    shares = probabilities(cosines, scale)
    return tuple((int(number), float(shares[number])) for number in order[:KEPT])


def _opened(
    entries: Iterable[Entry], change: Change, spent: frozenset[str], left_out: list[str]
) -> Iterator[tuple[Entry, NDArray[np.float32]]]:
    for entry in entries:
        try:
            row, sha256 = prepared(entry, change)
            if sha256 not in spent:
                yield entry, row
        except UsageError as exc:
            left_out.append(str(exc))
