"""Embedding a folder as SOPHON's samples tell it: their lines, and their table of both halves."""

from __future__ import annotations

from collections.abc import Sequence

from clip_bench.finding import Embedding
from clip_bench.report import platforms
from clip_bench.report.blocks import join
from clip_bench.report.figures import ABSENT, clean, fixed, markdown, millis

HEADS = ("Platform", "Program", "Model", "Preprocess time (ms)", "Inference time (ms)")
TOTALS = ("Total images", "Total time (s)", "Avg time (ms)", "FPS", "Both halves in turns (FPS)", "Reached (%)")
LEGEND = (
    "Preprocess and inference time are per picture, each alone, on all threads that it has; preprocessing begins with the "
    "file, inference is in batches. *Both halves in turns* is what these two allow together, since on a CPU they share the "
    "cores, and *Reached* how much of it the whole run did, its first calls among it."
)


def page(several: Sequence[Embedding]) -> str:
    """A row for each folder that was embedded."""
    return join([markdown((*HEADS, *TOTALS), [_cells(each) for each in several], left=3), LEGEND])


def bound(told: Embedding) -> float | None:
    """Pictures per second where both halves take turns; None where they were not timed."""
    if told.preprocess_s is None or told.inference_s is None:
        return None
    return 1 / (told.preprocess_s + told.inference_s)


def _cells(told: Embedding) -> list[str]:
    rate = told.images / told.seconds if told.images and told.seconds else None
    most = bound(told)
    return [
        platforms.title(told.target),
        "clip-bench embed",
        f"{clean(told.title)}, batch {told.batch}, {clean(told.preprocess)}",
        *(ABSENT if each is None else millis(1e3 * each) for each in (told.preprocess_s, told.inference_s)),
        str(told.images),
        fixed(told.seconds),
        ABSENT if rate is None else millis(1e3 / rate),
        fixed(rate),
        fixed(most),
        ABSENT if rate is None or most is None else fixed(100 * rate / most, 0),
    ]
