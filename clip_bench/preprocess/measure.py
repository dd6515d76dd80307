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
from clip_bench.finding import Transformed, Transforms
from clip_bench.preprocess import REFERENCE, VARIANTS
from clip_bench.quality import metrics, pictures, values
from clip_bench.specs import ModelSpec

Floats = NDArray[np.float32]
Stored = Mapping[str, bytes]
Embed = Callable[[Floats], Floats]


PART = 16  # pictures whose pixels are held at a time, by every variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A variant for one model: *before* is outside its time, *change* inside."""

    before: Callable[[bytes], Any]
    change: Callable[[Any], Floats]

    def __call__(self, stored: bytes) -> Floats:
        """Both."""
        return self.change(self.before(stored))


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """Embeddings of captions, (m, width), and which are right for which pictures, (pictures, m)."""

    rows: Floats
    positives: NDArray[np.bool_]


def measure(
    stored: Stored,
    spec: ModelSpec,
    embed: Embed,
    *,
    name: str = "",
    rounds: int,
    names: Sequence[str] = tuple(VARIANTS),
    captions: Callable[[Sequence[str]], Captions | None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Transforms:
    """Run the variants *names* on *stored* pictures, a set called *name*, by name, in *rounds* rounds; every variant's turn is drawn anew.

    *embed* makes embeddings, (n, width), of normalised pixels, (n, 3, h, w); *captions* is asked with the names of the
    pictures that are left. The reference is always among the variants.

    Raises:
        UsageError: a variant cannot do what *spec* asks of it.
    """
    steps, missing = {}, {}
    for each in (REFERENCE, *(each for each in names if each != REFERENCE)):
        try:
            steps[each] = Steps(before=VARIANTS[each].before or bytes, change=VARIANTS[each].make(spec))
        except UnavailableError as exc:
            missing[each] = str(exc)
    skipped = {picture: why for picture, data in stored.items() if (why := _refused(data, steps))}
    kept = {picture: data for picture, data in stored.items() if picture not in skipped}
    rows: tuple[Transformed, ...] = ()
    if kept:
        with one_core():
            times = _times(list(kept.values()), steps, rounds, clock)
        diffs, embeddings = _compared(list(kept.values()), steps, embed)
        told = captions(tuple(kept))
        rows = tuple(_row(each, times, diffs[each], embeddings, told) for each in steps)
    return Transforms(name=name, rows=rows, missing=missing, skipped=skipped, pictures=tuple(kept))


def _refused(data: bytes, steps: Mapping[str, Steps]) -> str:
    """Why a picture cannot be compared: what the first variant that refuses it says."""
    for name, each in steps.items():
        try:
            each(data)
        except UsageError as exc:
            return str(exc) if name == REFERENCE else f"{name}: {exc}"
    return ""


def _compared(
    stored: Sequence[bytes], steps: Mapping[str, Steps], embed: Embed
) -> tuple[dict[str, list[float]], dict[str, Floats]]:
    """By variant the mean |Δ| of each picture's pixels, and all embeddings; few pictures are held at a time."""
    diffs: dict[str, list[float]] = {name: [] for name in steps}
    parts: dict[str, list[Floats]] = {name: [] for name in steps}
    for start in range(0, len(stored), PART):
        pixels = {name: np.stack([each(data) for data in stored[start : start + PART]]) for name, each in steps.items()}
        for name, rows in pixels.items():
            diffs[name] += list(np.abs(rows - pixels[REFERENCE]).mean(axis=(1, 2, 3), dtype=np.float64))
            parts[name].append(embed(rows))
    return diffs, {name: np.concatenate(each) for name, each in parts.items()}


def _row(
    name: str,
    times: Mapping[str, Sequence[float]],
    processed_diffs: Sequence[float],
    embeddings: Mapping[str, Floats],
    captions: Captions | None,
) -> Transformed:
    own, reference = embeddings[name], embeddings[REFERENCE]
    told = {
        "processed_diff": values.told(np.array(processed_diffs)),
        "encode_diff": values.told(metrics.difference(own, reference)),
        "drift": values.told(metrics.drift(own, reference)),
        "identified": values.told(metrics.identified(own, reference)),
    }
    if captions is not None:
        told["places"] = values.told(metrics.places(metrics.rank(captions.rows, own), captions.positives.T))
    figures: dict[str, Any] = pictures.summed(told)
    return Transformed(
        name=name,
        differs=VARIANTS[name].differs,
        rounds_s=tuple(times[name]),
        ratio=float(np.median(np.array(times[name]) / np.array(times[REFERENCE]))),
        **figures,
        told=told,
    )


def _times(
    stored: Sequence[bytes],
    steps: Mapping[str, Steps],
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
                given = steps[name].before(data)
                began = clock()
                steps[name].change(given)
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
