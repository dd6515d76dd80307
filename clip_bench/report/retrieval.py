"""Retrieval scores as a table: who finds whom."""

from __future__ import annotations

from collections.abc import Sequence

from clip_bench.finding import Retrieval, Scored
from clip_bench.report.blocks import join
from clip_bench.report.figures import clean, markdown

COLUMNS = {
    "Text-to-image score (single-label)": ("text_to_image_1",),
    "Text-to-image score (double-label)": ("text_to_image_2",),
    "Text-to-image score (triple-label)": ("text_to_image_3",),
    "Image-to-text score": ("image_to_text",),
    "Image-to-Image score": ("image_to_image",),
    "Caption-to-image R@1 / R@5 / R@10": ("t2i_r1", "t2i_r5", "t2i_r10"),
    "Image-to-caption R@1 / R@5 / R@10": ("i2t_r1", "i2t_r5", "i2t_r10"),
}
UNDEFINED = "n/a"
LEGEND = (
    "A score is the % of queries (their number in brackets) whose nearest item by cosine is right: a picture that shows "
    "every label which a text names; a label that a picture shows; another picture that shows a same label. R@k is the % "
    "of captions, or of pictures with captions, that have a right one among the k nearest, as CLIP_benchmark defines it. "
    "A tie counts against; n/a is not defined on these data."
)


def page(told: Retrieval) -> str:
    """What was looked through, the table, and what was left out."""
    rows = [[clean(case.title), *(_cell(case, names) for names in COLUMNS.values())] for case in told.cases]
    left_out = "\n".join(f"- left out: {clean(problem)}" for problem in told.left_out)
    return join([clean(told.data), markdown(["Model Name", *COLUMNS], rows), LEGEND, left_out])


def _cell(case: Scored, names: Sequence[str]) -> str:
    """``12.5 (400)``, or several figures of the same queries."""
    several = [case.scores[name] for name in names if name in case.scores]
    shares = [UNDEFINED if each.share is None else f"{100 * each.share:.1f}" for each in several]
    if not set(shares) - {UNDEFINED}:
        return UNDEFINED
    return f"{' / '.join(shares)} ({max(each.queries for each in several)})"
