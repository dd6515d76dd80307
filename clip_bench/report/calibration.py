"""What calibration changes: the method and the number of rows, beside the agreement and the accuracy that they leave."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from clip_bench.report.columns import FULL, TOWERS, Cell, Row, outcome
from clip_bench.report.figures import ABSENT, fixed, markdown
from clip_bench.report.rows import frame
from clip_bench.runfile import Run

WORD = re.compile(r"(?:^|-)(?P<method>minmax|percentile|entropy)_(?P<rows>[1-9]\d*)(?=-|$)")  # in a variant
METHODS = {
    "minmax": "the least and the greatest value seen",
    "percentile": "all but 0.001 % of the values seen, by a histogram of 2048 bins",
    "entropy": "the range whose 128 steps are nearest to the histogram of the values seen (Kullback-Leibler). ONNX "
    "Runtime's histogram begins with 128 bins, so that the first rows leave it one choice, minmax's; only where later "
    "rows widen it is there another ([onnxruntime#9597](https://github.com/microsoft/onnxruntime/issues/9597))",
}
FIGURES: dict[str, Cell] = {
    "Mean similarity": lambda row: fixed(row["similarity_mean"], 5),
    **{head: FULL[head] for head in ("Worst sample", "Top-1 (%)", "R@1 text→image (%)", "R@1 image→text (%)")},
}
REFERENCE = {"top-1": "top1", "R@1 text→image": "t2i_r1", "R@1 image→text": "i2t_r1"}
CELL = ("model", "tower", "target", "precision", "data")


def study(run: Run) -> bool:
    """Whether *run* is about calibration alone: each of its cells is calibrated as ``--calibration`` said."""
    return bool(run.entries) and all(WORD.search(entry.record.variant) for entry in run.entries)


def concerned(run: Run) -> bool:
    """Whether *run* has a cell that is calibrated as ``--calibration`` said."""
    return any(WORD.search(entry.record.variant) for entry in run.entries)


def tables(runs: Sequence[Run]) -> str:
    """One table for each model, tower, target, precision and data with calibrated cells, each cell as first found."""
    rows: dict[str, Row] = {}
    for row in frame(runs).to_dict("records"):
        if WORD.search(row["variant"]):
            rows.setdefault(row["case"], row)
    parts = []
    for _, alike in groupby(sorted(rows.values(), key=_cell), key=_cell):
        parts += _table(sorted(alike, key=_rank))
    return "\n\n".join(parts)


def legend() -> str:
    """What the methods do, and what was calibrated on."""
    told = "\n".join(f"- {method}: {what}" for method, what in METHODS.items())
    return (
        "Static quantization fixes the range of every activation beforehand, from rows that are never evaluated on. "
        "Same graph, same evaluation; only the rows and the method differ. Similarity is the cosine to the FP32 "
        f"reference.\n\n{told}"
    )


def _table(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    cells = [[*_chosen(row), *(cell(row) for cell in FIGURES.values()), outcome(row)] for row in rows]
    words = ", ".join(
        f"{name} {fixed(first[f'{score}_reference_percent'], 1)} %"
        for name, score in REFERENCE.items()
        if fixed(first[f"{score}_reference_percent"], 1) != ABSENT
    )
    return [
        f"### {first['model']}, {TOWERS.get(first['tower'], first['tower'])} Model, {first['target']} {first['precision']}",
        f"The FP32 reference: {words}." if words else "",
        markdown(("Method", "Rows", *FIGURES, "Outcome"), cells),
    ]


def _cell(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in CELL)


def _chosen(row: Row) -> tuple[str, str]:
    match = WORD.search(row["variant"])
    return (match["method"], match["rows"]) if match else (ABSENT, ABSENT)


def _rank(row: Row) -> tuple[int, int]:
    method, rows = _chosen(row)
    return list(METHODS).index(method), int(rows)
