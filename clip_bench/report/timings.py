"""Anybody's raw timings as a table: percentiles that are proven beside those that are not, and what they are worth."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clip_bench import files
from clip_bench.errors import UsageError
from clip_bench.report.figures import ABSENT, clean, fixed, markdown, millis, unproven
from clip_bench.timing.percentiles import CONFIDENCE, SHOWN, Bound, bound, needed
from clip_bench.timing.rounds import checked
from clip_bench.timing.stability import verdict
from clip_bench.timing.statistics import summary
from clip_bench.timing.steady import steady

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
KINDS = (
    "a JSON list of numbers, pytest-benchmark's JSON with --benchmark-save-data, or a text file with a number per line"
)
LEGEND = (
    f"Times in milliseconds. *Linear* percentiles are interpolated (numpy's default), and about as often too low as too "
    f"high; a *proven* one holds at {CONFIDENCE:.0%} confidence, by the rule of MLPerf's LoadGen, where there are calls "
    f"enough. Throughput is batch / mean. *Steady after* counts the first calls until the times stay the same."
)


def table(files: Sequence[Path], *, unit: str = "s", percentiles: Sequence[float] = SHOWN, batch: int = 1) -> str:
    """A markdown table with a row per series of *files*, whose times are in *unit* (pytest-benchmark's: seconds).

    Raises:
        UsageError: a file that is none of these, times that are none, a percentile outside (0, 100), a batch below 1.
    """
    if batch < 1:
        msg = f"--batch {batch}: at least 1 sample per call"
        raise UsageError(msg)
    for percentile in percentiles:
        needed(percentile)
    headers = ["Timings", "Stability", "n", "Mean", "Min", "Max"]
    headers += [f"P{percentile:g} {kind}" for kind in ("linear", "proven") for percentile in percentiles]
    headers += ["Throughput /s", "Steady after"]
    series = [one for path in files for one in read(path, unit).items()]
    cells = [_row(name, times_s, percentiles, batch) for name, times_s in series]
    return f"{markdown(headers, cells, left=2)}\n\n{LEGEND}\n"


def read(path: Path, unit: str = "s") -> dict[str, tuple[float, ...]]:
    """The series in *path*, by name, in seconds.

    Raises:
        UsageError: the file cannot be read, or has no times in it; the message names it and what would be read.
    """
    try:
        text = files.text(path)
    except (OSError, UnicodeDecodeError) as exc:
        msg = f"{path}: cannot be read ({getattr(exc, 'strerror', None) or 'no text'}); give {KINDS}"
        raise UsageError(msg) from exc
    try:
        found = _series(path, text, UNITS[unit])
        for times_s in found.values():
            checked(times_s)
    except (UsageError, ValueError, TypeError) as exc:
        msg = f"{path}: {exc}; give {KINDS}"
        raise UsageError(msg) from exc
    return found


def _series(path: Path, text: str, scale: float) -> dict[str, tuple[float, ...]]:
    if not text.lstrip().startswith(("[", "{")):
        return {path.name: tuple(scale * value for value in _lines(text))}
    data = json.loads(text)
    if isinstance(data, list):
        return {path.name: tuple(scale * _number(value) for value in data)}
    found: dict[str, tuple[float, ...]] = {}
    for each in data.get("benchmarks") or []:
        name = each.get("fullname") or each.get("name") if isinstance(each, Mapping) else None
        if not name or not isinstance(each.get("stats"), Mapping) or "data" not in each["stats"]:
            msg = f"benchmark {name or len(found)} has no rounds in it"
            raise UsageError(msg)
        found[str(name)] = tuple(_number(value) for value in each["stats"]["data"])
    if not found:
        msg = "an object without benchmarks"
        raise UsageError(msg)
    return found


def _lines(text: str) -> list[float]:
    """The first column of each line that is not empty; the very first may be a heading."""
    columns = [re.split(r"[,;\s]", line.strip())[0].strip('"') for line in text.splitlines() if line.strip()]
    try:
        return [float(column) for column in columns]
    except ValueError:
        return [float(column) for column in columns[1:]]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{value!r} is no number"
        raise UsageError(msg)
    return float(value)


def _row(name: str, times_s: Sequence[float], percentiles: Sequence[float], batch: int) -> list[str]:
    told, stable, began = summary(times_s, batch), verdict(times_s), steady(times_s)
    bounds = [bound(times_s, percentile) for percentile in percentiles]
    linear = zip(bounds, np.percentile(times_s, percentiles).tolist(), strict=True)
    return [
        clean(name),
        clean("stable" if stable.stable else "; ".join(stable.reasons)),
        str(told.rounds),
        *(millis(1e3 * value) for value in (told.mean_s, told.min_s, told.max_s)),
        *(ABSENT if proven.value_s is None else millis(1e3 * value) for proven, value in linear),
        *map(_proven, bounds),
        fixed(told.throughput_avg),
        f"not in {told.rounds}" if began is None else f"{began}",
    ]


def _proven(told: Bound) -> str:
    return unproven(told.samples, told.needed) if told.value_s is None else millis(1e3 * told.value_s)
