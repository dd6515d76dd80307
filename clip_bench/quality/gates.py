"""What a cell must hold before it may be timed: refusals first, then floors per precision.

A refusal says that the output is not this graph's output at all, so that its figures mean nothing; a floor says that
it is, and how much it may have lost. Floors are never lowered to make a cell pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clip_bench.quality import metrics
from clip_bench.quality import scores as scoring
from clip_bench.quality.metrics import Rows
from clip_bench.quality.noise import Noise
from clip_bench.record import Answered, Quality, Score, Similarity
from clip_bench.specs import Precision

Outputs = Mapping[str, NDArray[Any]]


class Gate(StrEnum):
    """What a cell is held to, one by one: what :mod:`clip_bench.saboteurs` tries each of."""

    REFERENCE = "reference"
    OUTPUT = "output"
    FINITE = "finite"
    CONSTANT = "constant"
    ROWS = "rows"
    STRANGER = "stranger"
    MEAN = "mean"
    WORST = "worst row"
    IDENTIFIED = "identified"
    KNOWN = "known drift"
    ACCURACY = "accuracy"
    FEEDS = "feeds"
    REPEATED = "repeated"
    PLACEMENT = "placement"


class Failure(str):
    """Why a cell may not be timed, in a sentence; *gate* says so."""

    __slots__ = ("gate",)
    gate: Gate

    def __new__(cls, text: str, gate: Gate = Gate.REFERENCE) -> Self:
        """The sentence *text* of *gate*."""
        made = super().__new__(cls, text)
        made.gate = gate
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """The least a precision may score against the FP32 reference, and why.

    ``mean`` and ``minimum`` are the mean cosine and the worst row's; ``identified`` is the share of rows whose own
    reference row is their nearest.
    """

    mean: float
    minimum: float
    why: str
    identified: float = 0.9


# The means are the project's promise; the worst rows' floors are set from what was measured on shapes_tiny and
# vit_b_32_random on a CPU (reports/): 0.9979 in bf16, 0.987 in a16w8, 0.964 in the int8 kinds. fp32 drifted less than
# 1e-10 there, but 2e-6 on mobileclip_s1_random, whose activations reach 3e3: no floor that it holds tells fp32 from
# fp16, so what really executed is the placement's to tell, and the full table shows drift over the noise floor.
# Drift is quadratic in the rounding error. To round every element once, with relative errors uniform within a unit
# roundoff u, drifts by u²/6: 6e-16, 4e-8 and 3e-6 for float32, float16 and bfloat16. Layers multiply that.
FLOORS: Mapping[Precision, Floors] = {
    Precision.FP32: Floors(mean=0.99999, minimum=0.9999, why="the same arithmetic, summed in another order"),
    Precision.FP16: Floors(mean=0.9999, minimum=0.999, why="11 significant bits, and sums kept in float32"),
    Precision.BF16: Floors(mean=0.999, minimum=0.995, why="8 significant bits: eight times float16's rounding error"),
    Precision.A16W8: Floors(mean=0.99, minimum=0.97, why="8-bit weights; 16-bit activations add little to that"),
    Precision.INT8_DYNAMIC: Floors(mean=0.98, minimum=0.95, why="8-bit weights; activation ranges found per call"),
    Precision.INT8_QDQ: Floors(mean=0.98, minimum=0.95, why="8-bit weights; activation ranges from calibration"),
    Precision.INT8_NNCF: Floors(mean=0.98, minimum=0.95, why="8-bit weights; activation ranges from calibration"),
    Precision.INT8_VENDOR: Floors(mean=0.98, minimum=0.95, why="8-bit weights; activation ranges from calibration"),
}

ACCURACY_SHARE = 0.99
"""Accuracy at least 99% of FP32's: the target of MLPerf's closed division (mlcommons/inference_policies,
inference_rules.adoc)."""

ACCURACY_SCORES = frozenset({"top1", "t2i_r1", "i2t_r1"})
"""The strictest score of each kind; the laxer ones, top5 and R@5, follow it."""

ENOUGH_SAMPLES = 500
"""Below this, 1% is fewer than five samples, and accuracy is noted but not gated."""

COLLAPSED = 0.01
"""Rows whose spread is under this share of the reference's differ by less than a tenth of what they should."""

STRAY = 0.25
"""A row is another sample's where its drift to that one's reference is under this share of its drift to its own, and
so is the usual row's to its nearest. Rounding moves all rows about as far, and none most of the way to another's."""

KNOWN_TIMES = 3
"""How many times the drift that a cell is known to have (:mod:`clip_bench.quality.known`) it may have and be the same."""

UNRELATED = 0.9
"""An output whose mean drift is this share of that between two samples, or more, says nothing of its own samples."""


def assess(
    precision: Precision,
    tests: Outputs,
    references: Mapping[str, Rows],
    noise: Mapping[str, Noise],
    answered: Sequence[Answered] = (),
    known: Mapping[str, float] | None = None,
) -> Quality:
    """The quality of a cell: similarity per output, the scores of what it *answered*, and what the gate says.

    *tests*, *references* and *noise* are by output name, arrays (n, width) with the samples in one order; *known* is
    the mean drift that this cell is known to have, of the outputs of which that is known. Whatever the cell gave, this
    raises nothing and every figure is finite; an output that cannot be compared has no similarity, and a failure instead.
    """
    compared = tuple(
        metrics.compare(name, tests[name], reference, noise[name].ways)
        for name, reference in references.items()
        if name in tests and len(reference) and metrics.comparable(tests[name], reference)
    )
    similarity = tuple(
        metrics.similarity(each, metrics.between(references[each.output]), (known or {}).get(each.output))
        for each in compared
    )
    scores = tuple(score for each in answered for score in scoring.summed(each))
    return Quality(
        similarity=similarity,
        scores=scores,
        failures=judge(precision, tests, references, similarity, scores),
        compared=compared,
        answered=tuple(answered),
    )


def judge(
    precision: Precision,
    tests: Outputs,
    references: Mapping[str, Rows],
    similarity: Sequence[Similarity],
    scores: Sequence[Score],
) -> tuple[Failure, ...]:
    """Why the cell may not be timed, a sentence each; empty where it may.

    *similarity* has one entry per output that can be compared, as :func:`assess` makes it.
    """
    refused = refusals(tests, references, similarity, FLOORS[precision].identified)
    return refused or unheld(precision, similarity, scores)


def unheld(precision: Precision, similarity: Sequence[Similarity], scores: Sequence[Score]) -> tuple[Failure, ...]:
    """The floors that the figures of a cell do not hold, a sentence each."""
    floors = FLOORS[precision]
    return (
        *(failure for figures in similarity for failure in _below(figures, precision, floors)),
        *(failure for figures in similarity for failure in _unlike_itself(figures)),
        *(_lost_accuracy(score) for score in scores if _gated(score) and score.value < _due(score)),
    )


def refusals(
    tests: Outputs, references: Mapping[str, Rows], similarity: Sequence[Similarity], identified: float
) -> tuple[Failure, ...]:
    """For each output that is not the reference's output at all, the first reason why.

    *identified* is the share of rows below which an output that is like nothing is another graph's.
    """
    if not references:
        return (Failure("there is no reference output, so nothing was compared", Gate.REFERENCE),)
    figures = {each.output: each for each in similarity}
    checks = {name: _checked(name, tests, reference, figures, identified) for name, reference in references.items()}
    first = {name: next(((gate, reason) for gate, reason in each if reason), None) for name, each in checks.items()}
    return tuple(Failure(f"{name}: {reason[1]}", reason[0]) for name, reason in first.items() if reason)


def _checked(
    name: str, tests: Outputs, reference: Rows, figures: Mapping[str, Similarity], identified: float
) -> Iterator[tuple[Gate, str]]:
    """Each gate with its reason, if it has one; a later one takes for granted what the earlier ones found in order."""
    yield Gate.REFERENCE, _unusable(reference)
    yield Gate.OUTPUT, _malformed(tests, name, reference)
    test = tests[name]
    yield Gate.FINITE, _infinite(test)
    yield Gate.CONSTANT, _dead(test, reference)
    if figures[name].identified < 1:
        own = metrics.drift(test, reference)
        yield Gate.ROWS, _strays(test, reference, own)
        yield Gate.STRANGER, _unrelated(own, figures[name], identified)


def _unusable(reference: Rows) -> str:
    """Why this reference cannot judge anything."""
    if bad := _not_finite(reference):
        return f"the reference itself has {bad} of {len(reference)} rows that are not finite; build it again"
    if not len(reference) or metrics.spread(reference) <= metrics.TIE:
        return f"the reference's {len(reference)} rows do not differ, so nothing can be told apart; give other samples"
    return ""


def _malformed(tests: Outputs, name: str, reference: Rows) -> str:
    """Why this output cannot be compared."""
    if name not in tests:
        return f"no such output, only {', '.join(sorted(tests)) or 'none at all'}"
    test = tests[name]
    if test.shape != reference.shape:
        return f"shape {test.shape} where the reference has {reference.shape}: another tower's output, or rows lost"
    if not metrics.comparable(test, reference):
        return f"{test.dtype} of {test.ndim} axes where rows of floats were expected"
    return ""


def _infinite(test: Rows) -> str:
    bad = _not_finite(test)
    return f"{bad} of {len(test)} rows are not finite (NaN or infinity)" if bad else ""


def _dead(test: Rows, reference: Rows) -> str:
    """Why this output says nothing of what it was fed."""
    ours, theirs = metrics.spread(test), metrics.spread(reference)
    if ours < COLLAPSED * theirs:
        return f"constant: rows differ by a spread of {ours:.3g} where the reference's differ by {theirs:.3g}"
    return ""


def _strays(test: Rows, reference: Rows, own: metrics.Floats) -> str:
    """Why this output is that of other samples; *own* is the drift of its rows, (n,)."""
    best = metrics.drift(test, reference[metrics.nearest(test, reference)])
    strays = (own > best + metrics.TIE) & (np.maximum(best, np.median(best)) < STRAY * own)
    if strays.any():
        return (
            f"{strays.sum()} of {len(test)} rows are another sample's: permuted or repeated (mean drift "
            f"{own[strays].mean():.3g} to their own reference, {best[strays].mean():.3g} to the nearest)"
        )
    return ""


def _unrelated(own: metrics.Floats, figures: Similarity, identified: float) -> str:
    """Why this output is that of another graph."""
    if figures.identified < identified and own.mean() >= UNRELATED * (1 - figures.between):
        return (
            f"mean cosine {figures.mean:.6g} to the reference, where two samples have {figures.between:.6g}, and "
            f"{figures.identified:.1%} of rows identified: the output of other samples, another tower or model"
        )
    return ""


def _not_finite(rows: Rows) -> int:
    return int((~np.isfinite(rows).all(axis=1)).sum())


def _below(figures: Similarity, precision: Precision, floors: Floors) -> list[Failure]:
    """The floors that one output does not hold."""
    held = (
        (Gate.MEAN, "mean cosine", figures.mean, floors.mean),
        (Gate.WORST, "worst row's cosine", figures.minimum, floors.minimum),
        (Gate.IDENTIFIED, "share of rows identified", figures.identified, floors.identified),
    )
    return [
        Failure(f"{figures.output}: {what} {value:.7g} is below {floor:g} for {precision} ({floors.why})", gate)
        for gate, what, value, floor in held
        if value < floor
    ]


def _unlike_itself(figures: Similarity) -> list[Failure]:
    """That one output drifts further than this cell is known to, if that is known."""
    known, drift = figures.known_drift, 1 - figures.mean
    if known is None or drift <= KNOWN_TIMES * max(known, metrics.LEAST_FLOOR):
        return []
    told = (
        f"{figures.output}: mean drift {drift:.3g} is more than {KNOWN_TIMES} times the {known:.3g} that this cell is "
        "known to have: another graph, recipe or kernel than those it was measured with"
    )
    return [Failure(told, Gate.KNOWN)]


def _gated(score: Score) -> bool:
    return score.name in ACCURACY_SCORES and score.samples >= ENOUGH_SAMPLES


def _due(score: Score) -> float:
    return ACCURACY_SHARE * score.reference


def _lost_accuracy(score: Score) -> Failure:
    return Failure(
        f"{score.name}: {score.value:.4f} over {score.samples} samples is below {_due(score):.4f}, "
        f"99% of the reference's {score.reference:.4f} (MLPerf's rule)",
        Gate.ACCURACY,
    )
