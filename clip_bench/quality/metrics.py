"""Figures from arrays: how like the reference's rows are, and how often the right answer ranks first.

Two rules hold throughout, because ``argmax`` of NaN or of equal values is 0 and so looks like an answer:

* a tie counts against the cell, and scores within :data:`TIE` of each other are tied;
* what has no direction (a row of zeros, or one with NaN or infinity in it) is like nothing and ranks nowhere, so
  that a broken output lowers a figure and never makes it NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.quality import values
from clip_bench.record import Compared, Similarity

Rows = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.integer[Any]]
Numbers = NDArray[np.number[Any]]

EPS = float(np.finfo(np.float32).eps)

TIE = 4 * EPS
"""Scores this near, relative to their size, are tied: a few units in float32's last place, which is how far equal
answers come apart when kernels sum in another order."""

LEAST_FLOOR = EPS**2 / 2
"""The least noise floor, 7e-15. Drift is half a squared distance, so rows one float32 epsilon apart drift by half of
epsilon squared; epsilon itself, 1.2e-7, would be the drift of float16."""

_BLOCK = 1024  # rows per matrix product: n x n cosines of a large set never stand in memory at once


def comparable(test: NDArray[Any], reference: Rows) -> bool:
    """Whether *test* can be compared at all: floats, (rows, width), of the reference's shape."""
    return test.ndim == 2 and test.shape == reference.shape and np.issubdtype(test.dtype, np.floating)  # noqa: PLR2004


def normalised(rows: Rows) -> Floats:
    """Each row over its L2 norm, in float64; a row without direction becomes zeros."""
    wide = np.asarray(rows, dtype=np.float64)
    peak = np.abs(wide).max(axis=-1, keepdims=True, initial=0.0)
    directed = np.isfinite(peak) & (peak > 0)
    scaled = np.where(directed, wide, 0.0) / np.where(directed, peak, 1.0)  # no square of a finite value overflows
    length = np.sqrt(np.square(scaled).sum(axis=-1, keepdims=True))
    return scaled / np.where(directed, length, 1.0)


def drift(a: Rows, b: Rows) -> Floats:
    """1 - cosine of each row of *a* to the same row of *b*, (n,), in [0, 2]; 1 where a row has no direction.

    For unit rows 1 - u·v = ‖u - v‖² / 2. The right side keeps its digits where the left side cancels: float32 drifts
    by 1e-14 and less, of which the rounding of 1 - u·v leaves a digit or none, and can make it negative.

    Raises:
        ValueError: the shapes differ, or are not (n, width).
    """
    if np.ndim(a) != 2 or np.shape(a) != np.shape(b):  # noqa: PLR2004
        msg = f"rows of shapes {np.shape(a)} and {np.shape(b)} cannot be compared; give two arrays (n, width)"
        raise ValueError(msg)
    u, v = normalised(a), normalised(b)
    halves = np.minimum(np.square(u - v).sum(axis=1) / 2, 2.0)
    return np.where(u.any(axis=1) & v.any(axis=1), halves, 1.0)


def cosine(a: Rows, b: Rows) -> Floats:
    """Cosine of each row of *a* to the same row of *b*, (n,), in [-1, 1]; 0 where a row has no direction.

    Raises:
        ValueError: the shapes differ, or are not (n, width).
    """
    return 1.0 - drift(a, b)


def between(reference: Rows) -> float:
    """Mean cosine of the reference's rows to other, different rows; 1 where all rows are equal.

    The cosines of all ordered couples sum to ‖Σu‖², and those of equal rows are taken off again, so that no n x n
    matrix is made.
    """
    distinct, counts = np.unique(reference, axis=0, return_counts=True)
    units = normalised(distinct)
    couples = len(reference) ** 2 - np.square(counts).sum()
    if couples == 0:
        return 1.0
    every = np.square(counts @ units).sum()
    same = np.square(counts) @ np.square(units).sum(axis=1)
    return float(np.clip((every - same) / couples, -1.0, 1.0))


def spread(rows: Rows) -> float:
    """Mean squared distance of the unit rows to their mean; 0 where all rows point the same way."""
    units = normalised(rows)
    return float(np.square(units - units.mean(axis=0)).sum(axis=1).mean())


def nearest(test: Rows, reference: Rows) -> Integers:
    """For each row of *test* the index of the reference row with the highest cosine, (n,)."""
    units, others = normalised(test), normalised(reference).T
    index = np.empty(len(units), dtype=np.intp)
    for start in range(0, len(units), _BLOCK):
        block = slice(start, start + _BLOCK)
        index[block] = np.argmax(units[block] @ others, axis=1)
    return index


def identified(test: Rows, reference: Rows) -> Bools:
    """Whether each row's own reference row is the nearest, (n,), or ties with it, as equal reference rows do.

    This is what catches permuted rows where the mean cosine cannot: with random weights, embeddings of different
    samples can have cosines of 0.99.
    """
    own, best = drift(test, reference), drift(test, reference[nearest(test, reference)])
    found: Bools = (own <= best + TIE) & normalised(test).any(axis=1)
    return found


def compare(output: str, test: Rows, reference: Rows, floor: Mapping[str, Floats]) -> Compared:
    """One output, (n, width), against the reference's, row by row; *floor* is the reference's own drift, by the way.

    Raises:
        ValueError: the shapes differ.
    """
    return Compared(
        output=output,
        drift=values.told(drift(test, reference)),
        identified=values.told(identified(test, reference)),
        difference=values.told(difference(test, reference)),
        floor={way: values.told(rows) for way, rows in floor.items()},
    )


def similarity(compared: Compared, between: float, known: float | None = None) -> Similarity:
    """The figures of one output, from its values per row, and from *between*, which is the reference's own.

    *known* is the mean drift that this output of the cell is known to have, if it is.

    The mean cosine is what the Olive CLIP examples publish as Degrad = 100 (1 - mean). The noise floor is the largest
    mean drift of ``compared.floor``, held at :data:`LEAST_FLOOR` or above so that a reference that repeats itself to
    the bit still gives a finite ratio.

    Raises:
        ValueError: there are no rows.
        UsageError: what should be numbers is not.
    """
    drifts = values.read(compared.drift)
    if not drifts.size:
        msg = f"{compared.output}: no rows to compare; give at least one"
        raise ValueError(msg)
    floor = max((values.mean(rows) for rows in compared.floor.values()), default=0.0)
    floor = max(floor, LEAST_FLOOR)
    cosines = 1.0 - drifts
    off = values.mean(compared.difference)
    return Similarity(
        output=compared.output,
        rows=len(drifts),
        mean=float(1.0 - drifts.mean()),
        minimum=float(cosines.min()),
        p1=float(np.percentile(cosines, 1)),
        between=between,
        identified=values.mean(compared.identified),
        floor_drift=floor,
        drift_ratio=float(drifts.mean() / floor),
        difference=off if np.isfinite(off) else None,
        known_drift=known,
    )


def difference(test: Rows, reference: Rows) -> Floats:
    """The mean of |*test* - *reference*| over each row as it is, (n,); not finite where a value is not."""
    with np.errstate(invalid="ignore", over="ignore"):
        rows: Floats = np.abs(np.asarray(test, np.float64) - reference).mean(axis=1)
    return rows


def rank(queries: Rows, items: Rows) -> Floats:
    """Cosines of every query to every item, (queries, items); NaN, which never hits, where a row has no direction."""
    units, others = normalised(queries), normalised(items)
    cosines = units @ others.T
    cosines[~units.any(axis=1)] = np.nan
    cosines[:, ~others.any(axis=1)] = np.nan
    return cosines


def ranks(scores: Rows, labels: Integers) -> Integers:
    """How many other classes score as high as each sample's right one or higher, (n,), of *scores*, (n, classes).

    -1 where the right class has no finite score: a miss. NaN elsewhere counts as higher, so constant logits rank last.

    Raises:
        ValueError: *labels* is not (n,), or holds a class that is not there.
    """
    wide = np.asarray(scores, dtype=np.float64)
    samples, classes = wide.shape
    if labels.shape != (samples,) or not np.all((labels >= 0) & (labels < classes)):
        msg = f"labels must be ({samples},) integers from 0 to {classes - 1}; leave unlabelled samples out"
        raise ValueError(msg)
    right = wide[np.arange(samples), labels]
    return np.where(np.isfinite(right), _rivals(wide, right).sum(axis=1) - 1, -1)


def places(scores: Rows, positives: Bools) -> Integers:
    """How many wrong items score as high as each query's best right one or higher, (queries,); -1 as in :func:`ranks`.

    *scores* and *positives* are (queries, items); a query without positives is -1.

    Raises:
        ValueError: the shapes differ.
    """
    wide = np.asarray(scores, dtype=np.float64)
    if wide.shape != positives.shape:
        msg = f"scores {wide.shape} and positives {positives.shape} must both be (queries, items)"
        raise ValueError(msg)
    usable = positives & np.isfinite(wide)
    best = np.where(usable, wide, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(best), (_rivals(wide, best) & ~positives).sum(axis=1), -1)


def share(ranks: Numbers, k: int) -> float:
    """Share of queries whose right answer is among the best *k*: top-k, or R@k; 0 of nothing is 0.

    R@k is that of the CLIP paper's retrieval on Flickr30k and MSCOCO: Radford et al. 2021, arXiv:2103.00020.
    """
    return _share((ranks >= 0) & (ranks < k))


def topk(scores: Rows, labels: Integers, k: int) -> float:
    """:func:`share` of the :func:`ranks`: constant logits score 0 for every *k* < classes."""
    return share(ranks(scores, labels), k)


def recall(scores: Rows, positives: Bools, k: int) -> float:
    """:func:`share` of the :func:`places`: any of a query's positives among the *k* best items."""
    return share(places(scores, positives), k)


def alike(own: Numbers, reference: Numbers) -> float:
    """Share of samples for which both predict the same; -1, which is no prediction, never agrees."""
    return _share((own == reference) & (own >= 0))


def agreement(test_scores: Rows, reference_scores: Rows) -> float:
    """Share of samples, rows of (n, classes), with the same best class in both; a tied or NaN best never agrees.

    Raises:
        ValueError: the shapes differ.
    """
    if test_scores.shape != reference_scores.shape:
        msg = f"scores of shapes {test_scores.shape} and {reference_scores.shape} must both be (n, classes)"
        raise ValueError(msg)
    return alike(predicted(test_scores), predicted(reference_scores))


def predicted(scores: Rows) -> Integers:
    """The best class of each sample, (n,); -1 where it is tied or the row is not finite."""
    wide = np.asarray(scores, dtype=np.float64)
    clear = np.isfinite(wide).all(axis=1) & (_rivals(wide, wide.max(axis=1)).sum(axis=1) == 1)
    return np.where(clear, wide.argmax(axis=1), -1)


def _rivals(scores: Floats, right: Floats) -> Bools:
    """Which scores are not clearly below *right*, (n,): NaN is not, and nothing is below what is not finite."""
    level = np.where(np.isfinite(right), right, np.nan)
    rivals: Bools = ~(scores < (level - TIE * np.abs(level))[:, np.newaxis])
    return rivals


def _share(hits: Bools) -> float:
    """The share of True; 0 of nothing is 0."""
    return float(hits.mean()) if hits.size else 0.0
