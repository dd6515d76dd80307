"""Zero-shot classification as tables: top-1 and top-5 on whole data, and the labels that fit single pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clip_bench.answered import Evaluation, Labelled, Scoring
from clip_bench.quality.predictions import KEPT
from clip_bench.report import platforms
from clip_bench.report.blocks import join
from clip_bench.report.figures import ABSENT, clean, fixed, markdown

HEADS = ("Platform", "Program", "Model Name", "Data", "Prompts", "Pictures", "Classes")
RATES = ("Top-1 (%)", "Top-5 (%)", "No answer")
LABELS = ("Picture", "Label", "Score")
MOST = 20  # pictures of a table; the others are in the file
LEGEND = (
    "*Top-1* and *Top-5*: the % of pictures whose own class is the best of all, or among the best five, by the cosine to the "
    "classes' texts; not told of five classes or fewer. A picture without an answer (a cosine is no number, or "
    "the best class ties with another) counts as wrong. Unlike data or prompts are unlike questions: compare rows that "
    "agree in both."
)
SCORED = (
    "A score is the softmax, over the labels given, of the cosine times the model's own scale: it tells which of these "
    "fits best, not whether one does."
)
RANDOM = "Random weights: these answers mean nothing."


def evaluated(several: Sequence[Evaluation]) -> str:
    """A row for each evaluation, and what was left out of it."""
    left_out = [
        f"- left out: {clean(each.title)}, {clean(each.data)}: {len(each.left_out):,} pictures that cannot be opened"
        for each in several
        if each.left_out
    ]
    table = markdown((*HEADS, *RATES), [_rates(each) for each in several], left=5)
    return join([table, LEGEND, RANDOM if any(each.random_weights for each in several) else "", "\n".join(left_out)])


def scored(told: Scoring) -> str:
    """The best labels of each picture, and what was left out."""
    rows = [row for each in told.pictures[:MOST] for row in _best(each)]
    more = len(told.pictures) - MOST
    return join(
        [
            f"### {clean(told.title)}",
            markdown(LABELS, rows, left=2) if rows else "",
            f"{more:,} more pictures are in the file." if more > 0 else "",
            SCORED,
            RANDOM if told.random_weights else "",
            "\n".join(f"- left out: {clean(problem)}" for problem in told.left_out),
        ]
    )


def _rates(told: Evaluation) -> list[str]:
    def rate(count: int) -> str:
        return fixed(100 * count / told.pictures) if told.pictures else ABSENT

    return [
        platforms.title(told.target),
        "clip-bench evaluate",
        clean(told.title),
        clean(told.data),
        clean(told.prompts),
        str(told.pictures),
        str(told.classes),
        rate(told.first),
        rate(told.among) if told.classes > KEPT else ABSENT,
        str(told.silent),
    ]


def _best(each: Labelled) -> Iterator[list[str]]:
    """A row for each of the best labels; the picture's name stands before the first."""
    for place, fit in enumerate(each.labels[:KEPT]):
        yield ["" if place else clean(each.picture), clean(fit.label), f"{fit.score:.6g}"]
