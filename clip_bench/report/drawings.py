"""Which plots a machine's page has, of which cells: their file names and SVG texts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from clip_bench.record import Work
from clip_bench.report import batches, drifts, fronts, placements, plots, queues, sheet, sizes, starts
from clip_bench.report.blocks import alike, evenly, has, models
from clip_bench.report.calls import brief, split
from clip_bench.report.columns import TOWERS, Row, label, precision
from clip_bench.report.fronts import COSINE, DIGITS, TOP1, Scale, Spot
from clip_bench.report.plots import Curve, Mark, Point, Roof, Series
from clip_bench.report.roofs import Ceilings
from clip_bench.report.rows import CALL
from clip_bench.timing.roofline import Word

NAMED = re.compile(r"(?:front|latency|batches|roofline|queue|drift|placement|start|size)[A-Za-z0-9._-]*\.svg")
MOST_ROOFS = len(sheet.DASHES)
SECONDS = 1e-3
GRAPHS: dict[str, Callable[[str, Sequence[Row]], list[str]]] = {
    "drift": drifts.pictures,
    "placement": placements.pictures,
    "start": starts.pictures,
    "size": sizes.pictures,
}  # what belongs to a graph, however it is called
PLAIN = {"batch": 1, "load": "latency", "instances": 1, "queue": 0, "device_ids": "0", "inputs": "cached"}


def draw(frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """The plots of *frame*, by kind and file name.

    Of timed cells ``front``, ``latency``, ``batches``, ``queue`` and ``roofline``; of all, as far as they tell,
    :data:`GRAPHS`.
    """
    every = models(frame)
    rows = [row for row in every if has(row, "rounds")]
    return {
        "front": _unique(_fronts(rows)),
        "latency": _unique(_latencies(rows)),
        "batches": _unique(_batches(frame)),
        "queue": _unique(_queues(rows)),
        "roofline": _unique(_rooflines(rows)),
        **{kind: _unique(_graphs(kind, every)) for kind in GRAPHS},
    }


def _fronts(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """What is accurate for its latency, for each tower and call: models of the same data together where they have top-1.

    Where there is none, as of random weights, each model stands alone: a cosine is to the model's own reference.
    A time that its machine cannot have reached is on no front.
    """
    order = sorted({row["target"] for row in rows})
    believed = [row for row in rows if row["verdict"] != Word.IMPOSSIBLE]
    for call in split(row for row in believed if has(row, TOP1, COSINE)):
        scored = [row for row in call if has(row, TOP1)]
        others = [row for row in call if not has(row, TOP1)]
        for group in (*alike(scored, ("data",)), *alike(others, ("data", "model"))):
            if len(group) == 1:
                continue  # nothing to choose from
            names = list(dict.fromkeys(row["model"] for row in group))
            first = group[0] | {"model": names[0] if len(names) == 1 else f"{len(names)} models"}
            good, scale = (TOP1, _points(first)) if has(first, TOP1) else (COSINE, _cosines(first))
            spots = [
                Spot(
                    label=row["target"],
                    words=_words(row, names),
                    ms=row["p50_ms"],
                    good=round(row[good], DIGITS[good]),
                )
                for row in group
            ]
            for svg in fronts.plot(_subject(first), scale, spots, order):
                yield _name("front", first), svg


def _points(row: Row) -> Scale:
    return Scale(noun="accuracy", words=f"top-1 (%), over {row['samples']} samples", least=2.0, most=100.0)


def _cosines(row: Row) -> Scale:
    why = "random weights: no accuracy" if row["weights"] == "random" else "no top-1 was measured"
    return Scale(noun="similarity", words=f"mean cosine to FP32 ({why})", least=0.004, most=1.0)


def _words(row: Row, several: Sequence[str]) -> str:
    """The precision, and the model where there are several."""
    return " ".join((*([row["model"]] if len(several) > 1 else []), precision(row)))


def _latencies(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """How the times of one request are distributed, for each model, tower and call."""
    alone = [row for row in rows if row["load"] in {"latency", ""}]
    for group in alike(alone, ("model", "tower", *CALL)):
        for part in evenly(group, sheet.MOST_CURVES):
            curves = [Curve(label=label(row), seconds=row["rounds_s"], marks=_marks(row)) for row in part]
            yield _name("latency", group[0]), plots.latencies(_subject(group[0]), curves)


def _batches(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """What a larger batch costs and brings, for each model and tower."""
    for several in batches.growths(frame):
        for group in alike([growth.first for growth in several], ("model",)):
            chosen = [growth for growth in several if any(growth.first is row for row in group)]
            for part in evenly(chosen, sheet.MOST_CURVES):
                series = [
                    Series(
                        label=label(growth.first),
                        points=tuple((size, SECONDS * row["p50_ms"]) for size, row in growth.by_batch.items()),
                    )
                    for growth in part
                ]
                yield _name("batches", {**group[0], "batch": 1}), plots.batches(_subject(group[0]), series)


def _queues(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """What more requests at once cost and bring, for each model and tower."""
    for group in queues.families(rows):
        for part in evenly(queues.loads(group), sheet.MOST_CURVES):
            first = group[0] | {"load": "latency"}
            yield _name("queue", first), plots.queues(_subject(first), part)


def _graphs(kind: str, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """The pictures of one of :data:`GRAPHS`, for each model and tower, and for each way in which they are fed.

    Each graph stands there once: as it is called with the least batch, one request at a time.
    """
    for group in alike(rows, ("model", "tower", "fed")):
        graphs: dict[str, Row] = {}
        for row in sorted(
            group, key=lambda row: (row["load"] not in {"latency", ""}, row["batch"] if has(row, "batch") else 0)
        ):
            graphs.setdefault(label(row), row)
        first = group[0] | PLAIN
        for svg in GRAPHS[kind](_subject(first), sorted(graphs.values(), key=lambda row: row["target"])):
            yield _name(kind, first), svg


def _rooflines(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """What is reached below the ceilings of each kind of device, by the run that measured them."""
    held = [row for row in rows if row["verdict"] and row["bytes"] > 0]
    for group in alike(held, ("run", "device")):
        labels = list(dict.fromkeys(label(row) for row in group))
        ceilings: Ceilings = group[0]["ceilings"]
        for part in evenly(labels, sheet.MOST_LABELS):
            shown = [row for row in group if label(row) in part]
            points = [
                Point(label=label(row), work=Work(flops=row["flops"], bytes=row["bytes"]), seconds=row["call_s"])
                for row in shown
            ]
            subject = f"{group[0]['machine']}, {group[0]['device'].upper()}"
            yield f"roofline-{group[0]['device']}", plots.roofline(subject, _roofs(shown, ceilings), points)


def _roofs(rows: Sequence[Row], ceilings: Ceilings) -> list[Roof]:
    """The roofs of the precisions of *rows*, the highest where there are more than are told apart."""
    found = {row["precision"]: ceilings.of(row["device"], row["precision"]) for row in rows}
    told = [Roof(label=f"{name}, by {each.source}", ceiling=each) for name, each in found.items() if each]
    return sorted(told, key=lambda roof: -roof.ceiling.flops_s)[:MOST_ROOFS]


def _marks(row: Row) -> tuple[Mark, ...]:
    """The percentiles that are proven."""
    told = {0.90: row["p90_proven_ms"], 0.99: row["p99_proven_ms"]}
    return tuple(Mark(share=share, seconds=SECONDS * ms) for share, ms in told.items() if not math.isnan(ms))


def _subject(row: Row) -> str:
    return ", ".join(filter(None, (row["model"], f"{TOWERS.get(row['tower'], row['tower'])} Model", brief(row))))


def _name(kind: str, row: Row) -> str:
    """A file's name for the cells like *row*, without its ending."""
    words = re.sub(r"[^A-Za-z0-9_]+", "_", brief(row)).strip("_")
    return "-".join(filter(None, (kind, re.sub(r"[^A-Za-z0-9_.]+", "_", row["model"]), row["tower"], words)))


def _unique(drawn: Iterator[tuple[str, str]]) -> dict[str, str]:
    """File names that differ: the second of one name ends in ``-2``."""
    files: dict[str, str] = {}
    seen: dict[str, int] = {}
    for name, svg in drawn:
        seen[name] = seen.get(name, 0) + 1
        files[f"{name}-{seen[name]}.svg" if seen[name] > 1 else f"{name}.svg"] = svg
    return files
