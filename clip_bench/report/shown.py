"""Records as the page shows them: JSON that is safe inside HTML, and holds once what many records share."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass, replace
from typing import Any

import pandas as pd

from clip_bench.record import Entry, Quality
from clip_bench.report import speedups
from clip_bench.report.columns import Row
from clip_bench.report.drifts import distances

Part = Mapping[str, Any]

DIGITS = 6  # of a figure: the file has them all
# JSON in a script element: nothing may end it, nor begin a comment or an entity, nor a line of older JavaScript.
ESCAPES = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"})
SUMMARY = (
    *("rounds", "warmups", "mean_ms", "p50_ms", "p90_ms", "p90_proven_ms", "p99_proven_ms", "min_ms", "max_ms"),
    *("throughput_avg", "call_s", "unstable", "energy_j", "energy_source", "bound_percent", "verdict"),
)


def block(several: Iterable[Mapping[str, Part | None]]) -> str:
    """Records, in their order, as JSON: ``parts``, and ``records`` that name a part for each heading."""
    numbers: dict[str, int] = {}
    records = []
    for each in several:
        told = {heading: _dumps(part) for heading, part in each.items() if part}
        records.append({heading: numbers.setdefault(part, len(numbers)) for heading, part in told.items()})
    return f'{{"parts":[{",".join(numbers)}],"records":{_dumps(records)}}}'


def parts(row: Row) -> dict[str, Part | None]:
    """What the page tells of a row's record, by heading: the fields of its JSON, without those that say nothing.

    Raw times, and values per sample, are told as their summary, times in ms; figures have six digits.
    """
    entry: Entry = row["entry"]
    record = entry.record
    axes = {name: row[name] for name in ("model", "tower", "target", "precision", "variant", "weights", "machine")}
    ended = {"outcome": str(entry.outcome).replace("_", " "), "reason": entry.reason}
    origin = {"run": row["run"], "measured": row["datetime"], "witness": row["head"]}
    boundary = _kept(record.boundary) or {}
    runtimes = boundary.pop("runtimes", {})
    return {
        "cell": _kept({"case": entry.case} | axes | ended | origin),
        "timing": _kept({name: row[name] for name in SUMMARY} | {"speed-up": _speedup(row)}),
        "quality": _judged(row, record.quality),
        "placement": _kept(record.executed),
        "cold path": _kept(record.cold),
        "boundary": {"digest": entry.boundary} | boundary if boundary else {},
        "runtimes": runtimes,
        "machine": _kept({name: row[name] for name in ("chip", "ram")}),
        "conditions": _kept(record.timing.conditions if record.timing else None),
        "artifact": _kept(record.artifact),
        "work": _kept(record.work),
    }


def _judged(row: Row, quality: Quality | None) -> Part | None:
    """Quality, with the values of each sample in short."""
    if quality is None:
        return None
    short: Part = _kept(replace(quality, compared=(), answered=())) | {"distance": _kept(distances(row))}
    return {name: part for name, part in short.items() if part}


def _speedup(row: Row) -> str:
    """With its interval, or how it came about; empty where there is none."""
    return speedups.told(row) if row["ratio"] is not None or not pd.isna(row["speedup"]) else ""


def _kept(value: Any) -> Any:  # noqa: ANN401  whatever a record holds
    """A part of a record as JSON data, without what is not told, its figures shortened."""
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.{DIGITS}g}")
    if value is None or value is pd.NA:
        return None
    if is_dataclass(value):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        pairs = ((name, _kept(item)) for name, item in value.items())
        return {name: item for name, item in pairs if item is not None and item not in ("", {}, [])}
    return [_kept(item) for item in value] if isinstance(value, list | tuple) else value


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(ESCAPES)
