"""The size of each graph on disk, against that of FP32: one bar for each file, whoever loads it."""

from __future__ import annotations

from collections.abc import Sequence

from clip_bench.report.bars import Bar, stacked
from clip_bench.report.blocks import alike
from clip_bench.report.columns import Row
from clip_bench.report.sheet import COLOURS, GREY, MOST_LABELS
from clip_bench.specs import Precision

FULL, LESS = "fp32", "another precision"
LOOKS = {FULL: GREY, LESS: COLOURS[0]}


def pictures(subject: str, rows: Sequence[Row]) -> list[str]:
    """How small each precision makes the file; none where there is one file alone.

    The ratio is over the FP32 file of the same target.
    """
    built = [row | {"sha256": row["record"].artifact.sha256} for row in rows if row["size_mb"] > 0]
    bases = {row["target"]: row["size_mb"] for row in built if row["precision"] == Precision.FP32}
    files = alike(built, ("sha256",))
    if len(files) < 2:  # noqa: PLR2004  nothing to compare
        return []
    bars = sorted((_bar(several, bases) for several in files), key=lambda bar: -sum(bar.parts[0].values()))
    title = f"{subject}: how small does each precision make the file?"
    return [stacked(title, ["size on disk (MB)"], LOOKS, bars[:MOST_LABELS])]


def _bar(rows: Sequence[Row], bases: dict[str, float]) -> Bar:
    """The bar of one file, of all that load it."""
    precisions, targets = (list(dict.fromkeys(row[name] for row in rows)) for name in ("precision", "target"))
    size = rows[0]["size_mb"]
    base = next((bases[target] for target in targets if bases.get(target)), None)
    ratio = "" if base is None or Precision.FP32 in precisions else f", {size / base:.0%} of fp32"
    return Bar(
        label=f"{', '.join(precisions)}: {', '.join(targets)}",
        parts=({FULL if Precision.FP32 in precisions else LESS: size},),
        words=(f"{size:,.2f} MB{ratio}",),
    )
