"""Rows of a frame that belong together, and the parts of a page that are made of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import pandas as pd

from clip_bench.report import platforms
from clip_bench.report.columns import Row
from clip_bench.report.figures import ABSENT, markdown

T = TypeVar("T")


def alike(rows: Iterable[Row], keys: Sequence[str]) -> list[list[Row]]:
    """Rows alike in *keys*, in the order in which each kind first appears."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[key]) for key in keys), []).append(row)
    return list(groups.values())


def evenly(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """*items* in as few, and as equal, parts of at most *most* as there can be."""
    count = max(1, math.ceil(len(items) / most))
    size = math.ceil(len(items) / count) if items else 1
    return [items[first : first + size] for first in range(0, len(items), size)]


def has(row: Row, *names: str) -> bool:
    """Whether one of the figures *names* was measured."""
    return any(not pd.isna(row[name]) for name in names)


def models(frame: pd.DataFrame) -> list[Row]:
    """The rows of cells that run a model: all but those of the null target."""
    return [row for row in frame.to_dict("records") if row["backend"] != platforms.NULL]


def filled(columns: dict[str, list[str]], left: int) -> str:
    """A table of *columns*, whose first *left* hold words; a column without a figure is left out."""
    kept = {head: cells for head, cells in columns.items() if any(cell != ABSENT for cell in cells)}
    words = sum(head in kept for head in list(columns)[:left])
    return markdown(list(kept), list(zip(*kept.values(), strict=True)), words)


def join(parts: Iterable[str]) -> str:
    """Paragraphs, tables and headings below each other; empty ones are left out, and of none is nothing."""
    kept = [part.strip("\n") for part in parts if part]
    return "\n\n".join(kept) + "\n" if kept else ""
