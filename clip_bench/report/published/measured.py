"""Measured cells of the same model, tower and call as a published row, and why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from clip_bench.report import naming
from clip_bench.report.blocks import models
from clip_bench.report.columns import Row as Cell
from clip_bench.report.figures import clean
from clip_bench.report.published.rows import Row
from clip_bench.specs import Precision, Tower
from clip_bench.timing.roofline import Sizes

WORDS = {"tower": "tower", "batch": "batch", "texts": "number of texts", "inside_clock": "clock"}
FLOAT = Precision.FP32
PLAIN = {"load": "latency", "inputs": "cached", "fed": "", "device_ids": "0"}


def timed(tables: Mapping[str, pd.DataFrame]) -> list[Cell]:
    """The timed cells of one request at a time, each with the ``folder`` of its machine and the ``sizes`` of its model."""
    found = [
        row | {"folder": folder, "sizes": _sizes(row)}
        for folder, table in tables.items()
        for row in models(_plain(table))
    ]
    return [row for row in found if row["sizes"] is not None]


def beside(row: Row, cells: Sequence[Cell]) -> tuple[list[Cell], str]:
    """The cells whose call is that of *row*, the fastest of each machine and precision; or none, and why, in a line."""
    where = "No measured cell stands here"
    sizes = naming.model(row.architecture)
    kept = [cell for cell in cells if sizes is not None and cell["sizes"] == sizes]
    if not kept:
        return [], f"{where}: no run has {clean(row.architecture)}."
    asked = {"tower": row.tower, "batch": row.batch, "texts": row.texts, "inside_clock": row.inside}
    for name, told in asked.items():
        if not told and not (name == "texts" and row.tower != Tower.PAIR):
            return [], f"{where}: the {WORDS[name]} is not told."
        same = [cell for cell in kept if cell[name] == told]
        if not same:
            others = ", ".join(dict.fromkeys(str(cell[name]) for cell in kept))
            return [], f"{where}: the runs of this model are of another {WORDS[name]}: {clean(others)}."
        kept = same
    return _fastest(kept), ""


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """The timed rows of *table* whose call is plain, of a model whose name tells its work: few of many."""
    known = [name for name in table["model"].unique() if naming.model(name) is not None]
    kept = table["rounds"].notna() & table["batch"].notna() & table["model"].isin(known)
    for name, value in PLAIN.items():
        kept &= table[name] == value
    return table[kept]


def _fastest(cells: Iterable[Cell]) -> list[Cell]:
    kept: dict[tuple[str, str], Cell] = {}
    for cell in sorted(cells, key=lambda cell: (cell["p50_ms"], cell["case"])):
        kept.setdefault((cell["folder"], cell["precision"]), cell)
    return sorted(kept.values(), key=lambda cell: (cell["folder"], cell["p50_ms"], cell["case"]))


def _sizes(row: Cell) -> Sizes | None:
    """The sizes of the model's architecture; None for an unknown one, or inputs of another size than its name says."""
    sizes = naming.model(row["model"])
    if sizes is None or sizes.vision is None or sizes.text is None:
        return None
    pixels = row["tower"] == Tower.TEXT or row["image_size"] == sizes.vision.image_size
    tokens = row["tower"] == Tower.IMAGE or row["sequence"] == sizes.text.stack.tokens
    return sizes if pixels and tokens else None
