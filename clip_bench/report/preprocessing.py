"""Ways of preprocessing as tables: their time, and what they change, one table for each set of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean, stdev

from clip_bench.finding import Preprocessing, Transformed, Transforms
from clip_bench.report.blocks import join
from clip_bench.report.figures import clean, fixed, markdown

HEADS = ("TRANSFORMS", "TIME (ms)", "RATIO", "PROCESSED DIFF (mean)", "ENCODE DIFF (mean)", "COSINE")
RECALL, SAME, LAST = "Δ R@1 caption to picture", "Δ top-1 picture to picture", "Comments"


def page(told: Preprocessing) -> str:
    """What was measured how, and a table for each set, with what was left out of it."""
    random = " Its weights are random: figures of embeddings show no accuracy, nor does recall."
    about = (
        f"Model {clean(told.model)}. Each variant's time is per picture on one core, mean ± standard deviation of {told.rounds} "
        f"rounds in which all variants take turns; RATIO is the median of each round's.{random if told.random_weights else ''}"
    )
    return join([about, *(part for each in told.sets for part in _set(each))])


def _set(each: Transforms) -> Iterator[str]:
    count = len(each.pictures)
    yield f"### {clean(each.name)}" + (f" ({count} pictures)" if count > 1 else "")
    if each.rows:
        reference = each.rows[0]
        shown = {RECALL: reference.recall is not None, SAME: reference.same is not None}
        heads = [*HEADS, *(head for head, holds in shown.items() if holds), LAST]
        yield markdown(heads, [_cells(row, reference) for row in each.rows])
        if reference.recall is not None:
            yield f"R@1 caption to picture of the reference: {reference.recall:.1%}"
    parts = {"left out": each.missing, "skipped": each.skipped}
    yield "\n".join(
        f"- {word}: {clean(name)}: {clean(why)}" for word, some in parts.items() for name, why in some.items()
    )


def _cells(row: Transformed, reference: Transformed) -> list[str]:
    times = [1e3 * each for each in row.rounds_s]
    spread = f" ± {stdev(times):.2f}" if len(times) > 1 else ""
    cells = [
        clean(row.name),
        f"{fmean(times):.2f}{spread}",
        fixed(row.ratio),
        f"{row.processed_diff:.2g}",
        f"{row.encode_diff:.2g}",
        fixed(row.cosine, 6),
    ]
    for own, base in ((row.recall, reference.recall), (row.same, reference.same)):
        if own is not None and base is not None:
            cells.append(f"{100 * (own - base):+.1f} %")
    return [*cells, clean(row.differs)]
