"""Retrieval from embeddings alone: pictures and their texts, and queries that name what a picture shows.

Every figure is a recall at k: the share of hits, of queries of which at least one right item is among the k with the
highest cosine. Ties count against, as everywhere in this package (:mod:`clip_bench.quality.metrics`). No matrix of all queries
by all items is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np

from clip_bench.quality import metrics
from clip_bench.quality.metrics import Bools, Integers, Rows

KS = (1, 5, 10)
BLOCK = 1024  # queries at once

Right = Callable[[slice], Bools]
"""Which items are right for a block of queries, (queries, items)."""

Hits = Mapping[int, Bools]
"""By k, of each query that has a right item, whether one is among the k; empty where k is all there is."""


def recalls(images: Rows, texts: Rows, owners: Integers, ks: Sequence[int] = KS) -> Mapping[str, float]:
    """Recall at each of *ks* from text to image (``t2i_r1``, ...) and back (``i2t_r1``, ...), in [0, 1]; NaN of no hits.

    The arguments, and what is right, are those of :func:`both`.

    Raises:
        ValueError: as :func:`both`.
    """
    hits = both(images, texts, owners, ks)
    return {name: float(each.mean()) if each.size else math.nan for name, each in hits.items()}


def both(images: Rows, texts: Rows, owners: Integers, ks: Sequence[int] = KS) -> Mapping[str, Bools]:
    """The hits at each of *ks* of texts among images (``t2i_r1``, ...) and of images among texts (``i2t_r1``, ...).

    *images* is (n, width), *texts* (m, width), both in any scale; ``owners[j]``, (m,), is the image that text *j* was
    written for. As LAION's CLIP_benchmark defines it (``zeroshot_retrieval``): of a text one image is right; of an
    image each of its texts is, and one of them among the k is enough. Texts of the same words but other images are
    not right for each other's. An image without a text is no query, but an item.

    Raises:
        ValueError: the shapes do not fit, or an owner is no row of *images*.
    """
    images, texts, owners = np.asarray(images), np.asarray(texts), np.asarray(owners)
    if images.ndim != 2 or texts.ndim != 2 or images.shape[1] != texts.shape[1] or owners.shape != texts.shape[:1]:  # noqa: PLR2004
        msg = f"images {images.shape}, texts {texts.shape}, owners {owners.shape}: give (n, width), (m, width), (m,)"
        raise ValueError(msg)
    if owners.size and not 0 <= owners.min() <= owners.max() < len(images):
        msg = f"owners from {owners.min()} to {owners.max()} must be rows of the {len(images)} images"
        raise ValueError(msg)
    told = np.unique(owners)
    every = np.arange(len(images))
    forth = _hits(texts, images, lambda block: owners[block, None] == every, ks)
    back = _hits(images[told], texts, lambda block: told[block, None] == owners, ks)
    return {f"t2i_r{k}": forth[k] for k in ks} | {f"i2t_r{k}": back[k] for k in ks}


def naming(shows: Bools, labels: int, most: int) -> Bools:
    """Queries that name so many *labels* which some picture shows together, (queries, labels) of *shows*' labels.

    *shows*, (n, labels), tells what each picture shows. Of more than *most* queries every so manieth is taken, in the
    labels' order.
    """
    named = sorted({chosen for row in shows for chosen in combinations(np.flatnonzero(row).tolist(), labels)})
    places = np.linspace(0, len(named) - 1, min(most, len(named)))
    kept = [named[place] for place in np.unique(places.astype(int))]
    queries = np.zeros((len(kept), shows.shape[1]), np.bool_)
    for row, chosen in zip(queries, kept, strict=True):
        row[list(chosen)] = True
    return queries


def by_labels(images: Rows, queries: Rows, named: Bools, shows: Bools, ks: Sequence[int] = KS) -> Hits:
    """Hits of *queries*, (q, width), that name labels, among *images*: right is what shows every label named."""
    wanted = named.sum(axis=1)
    return _hits(queries, images, lambda block: (named[block].astype(int) @ shows.T) == wanted[block, None], ks)


def to_labels(images: Rows, labels: Rows, shows: Bools, ks: Sequence[int] = KS) -> Hits:
    """Hits of *images* among the texts of single *labels*, (labels, width): right is each label that it shows."""
    return _hits(images, labels, lambda block: shows[block], ks)


def to_images(images: Rows, shows: Bools, ks: Sequence[int] = KS) -> Hits:
    """Hits of *images* among the others: right is what shows a same label. One that shares none is no query."""
    shared = (shows.astype(int) @ shows.T) > 0
    np.fill_diagonal(shared, val=False)
    return _hits(images, images, lambda block: shared[block], ks, itself=True)


def _hits(queries: Rows, items: Rows, right: Right, ks: Sequence[int], *, itself: bool = False) -> dict[int, Bools]:
    items = metrics.normalised(items)
    places: list[Integers] = [np.zeros(0, np.int64)]
    for start in range(0, len(queries), BLOCK):
        block = slice(start, start + BLOCK)
        scores, targets = metrics.rank(queries[block], items), right(block)
        if itself:
            own = np.arange(start, start + len(scores))
            scores[np.arange(len(scores)), own] = -1.0 - metrics.TIE * 8  # behind every other
        usable = targets.any(axis=1)
        places.append(metrics.places(scores[usable], targets[usable]))
    every, most = np.concatenate(places), len(items) - itself
    return {k: (every >= 0) & (every < k) if k < most else np.zeros(0, np.bool_) for k in ks}
