"""Variants against the reference on the same pictures: interleaved times on one core, pixels, embeddings, recall."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UnavailableError, UsageError
from clip_bench.preprocess import REFERENCE, VARIANTS
from clip_bench.quality import metrics
from clip_bench.specs import ModelSpec

Floats = NDArray[np.float32]
Stored = Mapping[str, bytes]
Embed = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """Embeddings of captions, (m, width), and which are right for which pictures, (pictures, m)."""

    rows: Floats
    positives: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one variant did to a set of pictures.

    ``rounds_s`` is the seconds per picture in each round, and ``ratio`` the median over the rounds of its time over
    the reference's. ``processed_diff`` is the mean |Δ| of the normalised pixels, ``encode_diff`` that of the
    un-normalised embeddings, ``cosine`` the mean of theirs. ``same`` is the share of pictures whose embedding is nearest
    to its own among the reference's, ``recall`` R@1 from caption to picture; None where there is one picture, or no
    caption.
    """

    name: str
    rounds_s: tuple[float, ...]
    ratio: float
    processed_diff: float
    encode_diff: float
    cosine: float
    same: float | None
    recall: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A row per variant that is here, the reference's first; why the others are not; and files left out, and why."""

    rows: tuple[Row, ...]
    missing: Mapping[str, str]
    skipped: Mapping[str, str]
    pictures: tuple[str, ...]


def usable(stored: Stored, spec: ModelSpec, names: Sequence[str]) -> tuple[Stored, dict[str, str], dict[str, str]]:
    """The pictures that every variant here can take; why variants are not here; why pictures are left out."""
    made, missing, skipped = {}, {}, {}
    for name in names:
        try:
            made[name] = _steps(name, spec)
        except UnavailableError as exc:
            missing[name] = str(exc)
    for picture, data in stored.items():
        try:
            for before, change in made.values():
                change(before(data))
        except UsageError as exc:
            skipped[picture] = str(exc)
    return {name: data for name, data in stored.items() if name not in skipped}, missing, skipped


def measure(
    stored: Stored,
    spec: ModelSpec,
    embed: Embed,
    *,
    rounds: int,
    names: Sequence[str] = tuple(VARIANTS),
    captions: Callable[[Sequence[str]], Captions | None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Run the variants *names* on *stored* pictures, by name, in *rounds* rounds; every variant's turn is drawn anew.

    *embed* makes embeddings, (n, width), of normalised pixels, (n, 3, h, w); *captions* is asked with the names of the
    pictures that are left. The reference is always among the variants.
    """
    chosen = (REFERENCE, *(name for name in names if name != REFERENCE))
    kept, missing, skipped = usable(stored, spec, chosen)
    here = [name for name in chosen if name not in missing]
    if not kept:
        return Measured(rows=(), missing=missing, skipped=skipped, pictures=())
    steps = {name: _steps(name, spec) for name in here}
    with one_core():
        times = _times(list(kept.values()), steps, rounds, clock)
    pixels = {name: _pixels(kept.values(), steps[name]) for name in here}
    embeddings = {name: embed(rows) for name, rows in pixels.items()}
    told = captions(tuple(kept))
    rows = tuple(
        _row(name, times[name], times[REFERENCE], (pixels[name], pixels[REFERENCE]), embeddings, told) for name in here
    )
    return Measured(rows=rows, missing=missing, skipped=skipped, pictures=tuple(kept))


def _row(
    name: str,
    own_s: Sequence[float],
    reference_s: Sequence[float],
    pixels: tuple[Floats, Floats],
    embeddings: Mapping[str, Floats],
    captions: Captions | None,
) -> Row:
    own, reference = embeddings[name], embeddings[REFERENCE]
    ranks = None if captions is None else metrics.rank(captions.rows, own)
    return Row(
        name=name,
        rounds_s=tuple(own_s),
        ratio=float(np.median(np.array(own_s) / np.array(reference_s))),
        processed_diff=float(np.abs(pixels[0] - pixels[1]).mean(dtype=np.float64)),
        encode_diff=float(np.abs(own - reference).mean(dtype=np.float64)),
        cosine=float(metrics.cosine(own, reference).mean()),
        same=metrics.identified(own, reference) if len(own) > 1 else None,
        recall=None if captions is None or ranks is None else metrics.recall(ranks, captions.positives.T, 1),
    )


def _steps(name: str, spec: ModelSpec) -> tuple[Callable[[bytes], Any], Callable[[Any], Floats]]:
    """What is outside the time of a variant, and what is inside."""
    variant = VARIANTS[name]
    return variant.before or bytes, variant.make(spec)


def _pixels(stored: Any, steps: tuple[Callable[[bytes], Any], Callable[[Any], Floats]]) -> Floats:  # noqa: ANN401
    before, change = steps
    return np.stack([change(before(data)) for data in stored])


def _times(
    stored: Sequence[bytes],
    steps: Mapping[str, tuple[Callable[[bytes], Any], Callable[[Any], Floats]]],
    rounds: int,
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    """Seconds per picture of each variant in each round; a first round does not count."""
    draw = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        spent = dict.fromkeys(steps, 0.0)
        for data in stored:
            for name in map(str, draw.permutation(list(steps))):
                before, change = steps[name]
                given = before(data)
                began = clock()
                change(given)
                spent[name] += clock() - began
        for name, seconds in spent.items():
            found[name].append(seconds / len(stored))
    return {name: seconds[1:] for name, seconds in found.items()}


@contextmanager
def one_core() -> Iterator[None]:
    """This process on one core, where the system lets it choose, and libraries with one thread each."""
    import torch

    pinned = hasattr(os, "sched_setaffinity")
    cores = os.sched_getaffinity(0) if pinned else set()
    threads, opencv = torch.get_num_threads(), sys.modules.get("cv2")
    opencvs = opencv.getNumThreads() if opencv else 0
    try:
        if pinned:
            os.sched_setaffinity(0, {max(cores)})
        torch.set_num_threads(1)
        if opencv:
            opencv.setNumThreads(1)
        yield
    finally:
        if pinned:
            os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
        if opencv:
            opencv.setNumThreads(opencvs)
