"""Cells without a time: none without its reason, those of one reason together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from clip_bench.record import Outcome
from clip_bench.report import platforms
from clip_bench.report.figures import clean, markdown

AXES = ("tower", "model", "target", "precision")
Box = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Which:
    """So many cells, as their ids with braces."""

    cells: int
    words: tuple[str, ...]


def holes(frame: pd.DataFrame) -> str:
    """Every cell without a time, grouped by machine and run (where several), outcome and reason.

    Cells are told as their ids with braces, as a shell would expand them: ``{image,text}-shapes_tiny-torch-cuda-gpu-fp16``.
    """
    untimed = frame[frame["rounds"].isna()]
    groups = grouped(untimed)
    if not groups:
        return "Every planned cell was timed.\n"
    heads = [*(name.capitalize() for name in several(untimed)), "Outcome", "Reason", "Cells", "Which"]
    cells = []
    for (*where, outcome, reason), which in groups.items():
        told = [*where, outcome.replace("_", " "), reason]
        words = "<br/>".join(f"`{clean(word)}`" for word in which.words)
        cells.append([*map(clean, told), str(which.cells), words])
    return markdown(heads, cells, left=len(heads)) + "\n"


def grouped(frame: pd.DataFrame) -> dict[tuple[str, ...], Which]:
    """The cells of *frame* by machine and run (where several), outcome and reason."""
    groups: dict[tuple[str, ...], list[Box]] = {}
    where = several(frame)
    for row in frame.to_dict("records"):
        reason = _reason(str(row["outcome"]), str(row["reason"]), str(row["failures"]), str(row["device"]))
        key = (*(str(row[name]) for name in where), str(row["outcome"]), reason)
        cell = (row["tower"], row["model"], row["target"], "-".join(filter(None, (row["precision"], row["variant"]))))
        groups.setdefault(key, []).append(tuple((str(word),) for word in cell))
    return {key: Which(len(boxes), tuple(map(_braces, merge(boxes)))) for key, boxes in groups.items()}


def several(frame: pd.DataFrame) -> list[str]:
    """Which of machine and run tell the cells of *frame* apart."""
    return [name for name in ("machine", "run") if len(set(frame[name])) > 1]


def merge(boxes: Sequence[Box]) -> list[Box]:
    """Fewer boxes that hold exactly the same cells: those alike on all axes but one become one, axis by axis."""
    merged = list(dict.fromkeys(boxes))
    for axis in range(len(AXES)):
        united: dict[Box, tuple[str, ...]] = {}
        for box in merged:
            rest = (*box[:axis], *box[axis + 1 :])
            united[rest] = (*united.get(rest, ()), *box[axis])
        merged = [(*rest[:axis], values, *rest[axis:]) for rest, values in united.items()]
    return merged


def _reason(outcome: str, reason: str, failures: str, device: str) -> str:
    """What a reader is told, never nothing."""
    if reason or failures:
        return reason if failures in reason else "; ".join(filter(None, (reason, failures)))
    if outcome == Outcome.OK:
        return "not hardware: only its answers count" if device in platforms.NOT_HARDWARE else "the run holds no timing"
    return "the run gives no reason"


def _braces(box: Box) -> str:
    words = [values[0] if len(values) == 1 else f"{{{','.join(values)}}}" for values in box]
    return "-".join(words)
