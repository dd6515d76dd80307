"""What an exact rewrite gains: each cell beside the plain one of its model, target and precision, in blocks in turns.

``python tests/claims/rewrites.py [--all] [WORD ...]``; words choose among the cells by their ids. Two sessions are
loaded from two artifacts, and each is fed the same samples as its own graph takes them, so that a trimmed text is cut
and a folded picture comes as pixels outside the clock, as in a run. Blocks of a few calls take turns in the order ABBA,
the first calls of each uncounted; a ratio is the median over the groups of the plain block's median over the other's,
and its interval a bootstrap of the groups. Texts are captions of :data:`LONGEST` tokens, the most that the bound is
for.

Bound: texts with both of their rewrites, trimmed and pooled, at batch 1 and 32. Trimmed alone is told without a bound;
``--all`` measures the other rewrites too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product

import cells
import numpy as np
import verdict
from numpy.typing import NDArray
from overhead import group

from clip_bench import backends, evaluation, matrix
from clip_bench.backends import Arrays
from clip_bench.models import feeds
from clip_bench.settings import Settings
from clip_bench.specs import Case, Precision, Rewrite, Tower, Variant

MODEL = "vit_b_32_random"
TARGETS = ("torch-cpu", "onnxruntime-cpu", "openvino-cpu")
LEAST = {1: 2.2, 32: 4.0}  # times, of texts that are trimmed and pooled, by batch
LONGEST = 12  # tokens of a caption, its start and its end among them
CONFIDENCE, RESAMPLES = 0.95, 999
GROUPS = {1: 24, 32: 8}
COUNTED, UNCOUNTED = {1: 5, 32: 1}, {1: 2, 32: 1}
COLOURS, THINGS = ("red", "blue", "green", "white", "black", "brown"), ("dog", "cat", "cup", "book", "chair", "car")
BOUND = (Rewrite.TRIMMED, Rewrite.POOLED)
REST = ((Rewrite.POOLED,), (Rewrite.FOLDED,), (Rewrite.POOLED, Rewrite.FOLDED), (Rewrite.OPTIMISED,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How many times as fast, its interval, and the plain call in seconds."""

    plain_s: float
    value: float
    low: float
    high: float


def gain(groups: NDArray[np.float64], seed: int = 0) -> Gain:
    """Of (groups, 2, 2): the plain cell and the other, two blocks of each."""
    ratios = groups[:, 0].mean(axis=1) / groups[:, 1].mean(axis=1)
    draw = np.random.default_rng(seed)
    moved = np.median(ratios[draw.integers(0, len(ratios), (RESAMPLES, len(ratios)))], axis=1)
    low, high = np.quantile(moved, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    plain = float(np.median(groups[:, 0]))
    return Gain(plain_s=plain, value=float(np.median(ratios)), low=float(low), high=float(high))


def call_of(case: Case, options: Settings) -> Arrays:
    """One call of the plain *case*; its texts have :data:`LONGEST` tokens."""
    batch = case.variant.batch
    if case.tower is Tower.IMAGE:
        image = evaluation.feeds(options, case.model).image
        return {"image": np.resize(image, (batch, *image.shape[1:]))}
    tokens = feeds.tokens(
        case.model, [f"a photo of a {each} on a white table" for each in map(" ".join, product(COLOURS, THINGS))]
    )
    few = tokens[tokens.argmax(axis=1) == LONGEST - 1]
    return {"tokens": np.resize(few, (batch, few.shape[1]))}


def measured(plain: Case, other: Case, options: Settings) -> Gain:
    """Both cells in turns, on one call's samples."""
    given, batch = call_of(plain, options), plain.variant.batch
    with ExitStack() as stack:
        arms = []
        for case in (plain, other):
            prepared = stack.enter_context(cells.loaded(case, options))
            own = feeds.shaped(given, case.variant.rewrites, case.model)
            prepared.session.run(own)
            arms.append(lambda _, prepared=prepared, own=own: prepared.session.run(own))
        found = [group(arms, {}, COUNTED[batch], UNCOUNTED[batch]) for _ in range(GROUPS[batch])]
    return gain(np.array(found))


def told(case: Case, found: Gain, least: float | None) -> verdict.Row:
    """The line of one cell; *least* is its bound, None where it has none."""
    return verdict.row(
        cell=case.id,
        plain_ms=f"{1e3 * found.plain_s:.2f}",
        times_as_fast=f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})",
        bound="" if least is None else f"{least}",
        holds=None if least is None else found.low >= least,
    )


def planned(options: Settings, *, whole: bool) -> list[tuple[Case, Case]]:
    """The plain cells in FP32, each with one of its rewrites."""
    asked = (BOUND, (Rewrite.TRIMMED,), *(REST if whole else ()))
    chosen = replace(options, rewrites=asked, batches=tuple(LEAST))
    every = [
        case
        for case in matrix.cells(chosen, backends.discover())
        if str(case.target) in TARGETS and case.precision is Precision.FP32 and case.tower is not Tower.PAIR
    ]
    bare = [case for case in every if case.variant == Variant(rewrites=case.variant.rewrites, batch=case.variant.batch)]
    plain = {(case.tower, case.target, case.variant.batch): case for case in bare if not case.variant.rewrites}
    rewritten = [case for case in bare if case.variant.rewrites]
    return [(plain[case.tower, case.target, case.variant.batch], case) for case in rewritten]


def main(arguments: Sequence[str]) -> int:
    """Measure, print each line as it is known, and say whether the bounds hold."""
    options, rows = cells.settings(MODEL), []
    words = [word for word in arguments if word != "--all"]
    for plain, other in planned(options, whole="--all" in arguments):
        if not all(word in other.id for word in words):
            continue
        began = time.perf_counter()
        bound = LEAST[plain.variant.batch] if other.variant.rewrites == BOUND else None
        rows.append(told(other, measured(plain, other, options), bound))
        sys.stderr.write(f"{' '.join(rows[-1].values())} ({time.perf_counter() - began:.0f} s)\n")
    return verdict.show(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
