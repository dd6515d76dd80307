"""Published rows out of the CSV files beside this module: who measured what, on which boundary, and where it stands."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote

from clip_bench import files
from clip_bench.errors import UsageError
from clip_bench.report import naming
from clip_bench.specs import Tower

HERE = Path(__file__).parent
SLUG = re.compile(r"[a-z][a-z0-9_]*")
FILE_AT = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{7,40}\^?):(?P<path>[\w./-]+)")
THREAD = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)#(?P<number>\d+)")
PAGE = re.compile(r"https://[\w./-]+")
GITHUB = "https://github.com"


@dataclass(frozen=True, slots=True)
class Figure:
    """A column of figures: what stands over it, and between which bounds a figure can be true."""

    head: str
    low: float = 0.0
    high: float = math.inf


def _time(head: str) -> Figure:
    return Figure(f"{head} (ms)", 1e-3)


def _percent(head: str) -> Figure:
    return Figure(f"{head} (%)", 0.0, 100.0)


FIGURES: dict[str, Figure] = {
    "mean_ms": _time("Avg"),
    "p50_ms": _time("P50"),
    "p90_ms": _time("P90"),
    "p99_ms": _time("P99"),
    "max_ms": _time("Max"),
    "min_ms": _time("Min"),
    "time_ms": _time("Time, statistic not told"),
    "rate_s": Figure("Throughput (samples/sec)"),
    "cbs100_ms": _time("100 a batch"),
    "cbs50_ms": _time("50 a batch"),
    "cbs10_ms": _time("10 a batch"),
    "cbs1_ms": _time("1 a batch"),
    "png_ms": _time("PNG"),
    "jpg_ms": _time("JPEG"),
    "pixel_diff": Figure("Pixels differ by"),
    "embed_diff": Figure("Embedding differs by"),
    "accuracy_percent": _percent("Accuracy"),
    "degrad_percent": _percent("Degrad"),
    "similarity": Figure("Mean Similarity", high=1.0),
    "top1_percent": _percent("Top-1"),
    "top5_percent": _percent("Top-5"),
    "flickr_t2i_percent": _percent("Flickr, text→image"),
    "flickr_i2t_percent": _percent("Flickr, image→text"),
    "coco_t2i_percent": _percent("COCO, text→image"),
    "coco_i2t_percent": _percent("COCO, image→text"),
    "hit1_percent": _percent("One label"),
    "hit2_percent": _percent("Two labels"),
    "hit3_percent": _percent("Three labels"),
    "hit_image_percent": _percent("Image to text"),
    "f1": Figure("F1", high=1.0),
    "size_mib": Figure("Size (MiB)"),
    "size_mb": Figure("Size (MB)"),
    "ram_gb": Figure("RAM (GB)"),
    "vram_gb": Figure("VRAM (GB)"),
    "speedup_x": Figure("Speed-up (x)", 1e-3),
    "image_gflop": Figure("Image (GFLOP)"),
    "text_gflop": Figure("Text (GFLOP)"),
}
ASCENDING = ("min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One published row: facts in its source's words, a note in ours; empty or 0 is what the source does not tell.

    ``architecture`` is open_clip's name where it has one. ``inside`` is what is inside the clock, or what a score is
    over. ``link`` leads to the row as it was published.
    """

    id: str
    model: str
    architecture: str
    tower: str
    batch: int
    texts: int
    precision: str
    hardware: str
    runtime: str
    inside: str
    source: str
    note: str
    figures: Mapping[str, float]

    @property
    def link(self) -> str:
        """The address of the source."""
        return _link(self.source)


FACTS = tuple(field.name for field in fields(Row) if field.name != "figures")


def load(folder: Path = HERE) -> dict[str, tuple[Row, ...]]:
    """The rows of each CSV file in *folder*, by its stem.

    Raises:
        UsageError: a file or a row of it that cannot be true as it stands; the message names the line.
    """
    found = {path.stem: _read(path) for path in sorted(folder.glob("*.csv"))}
    seen: set[str] = set()
    for name, rows in found.items():
        for row in rows:
            if row.id in seen:
                raise UsageError(_wrong(name, row.id, "the id is there twice"))
            seen.add(row.id)
    return found


def _read(path: Path) -> tuple[Row, ...]:
    try:
        stored = files.read(path).decode("utf-8-sig")
        head, *lines = csv.reader(io.StringIO(stored, newline=""), strict=True)
    except (OSError, ValueError, csv.Error) as exc:
        msg = f"{path}: cannot be read as CSV ({exc}); its first line is {','.join(FACTS)} and columns of figures"
        raise UsageError(msg) from exc
    named = head[len(FACTS) :]
    if tuple(head[: len(FACTS)]) != FACTS or set(named) - set(FIGURES) or len(set(named)) < len(named):
        msg = f"{path}: the columns are {','.join(FACTS)}, and then those of {', '.join(FIGURES)} that it needs"
        raise UsageError(msg)
    return tuple(_row(path.stem, head, cells) for cells in lines)


def _row(name: str, head: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(head):
        raise UsageError(_wrong(name, ",".join(cells[:1]), f"{len(cells)} fields under {len(head)} columns"))
    told = dict(zip(head, (cell.strip() for cell in cells), strict=True))
    words = {key: told[key] for key in FACTS if key not in {"batch", "texts"}}
    figures = {key: _number(name, told["id"], key, told[key]) for key in head[len(FACTS) :] if told[key]}
    row = Row(batch=_count(name, told, "batch"), texts=_count(name, told, "texts"), figures=figures, **words)
    if why := _fault(row):
        raise UsageError(_wrong(name, row.id, why))
    return row


def _fault(row: Row) -> str:
    """What of *row* cannot be true; empty where nothing is."""
    told = [row.figures[key] for key in ASCENDING if key in row.figures]
    mean = row.figures.get("mean_ms", math.nan)
    within = row.figures.get("min_ms", mean) <= mean <= row.figures.get("max_ms", mean)
    faults = {
        "an id is of small letters, digits and _": not SLUG.fullmatch(row.id),
        "it names no model": not row.model,
        f"{row.tower!r} is no tower: image, text or pair": row.tower not in {"", *Tower},
        "texts beside the pictures are those of a pair": bool(row.texts) and row.tower != Tower.PAIR,
        f"{row.precision!r} is no one precision": bool(row.precision) and len(naming.precisions(row.precision)) != 1,
        f"{row.source!r} is no owner/repo@commit:path, owner/repo#number or https address": not _link(row.source),
        "it has no figure": not row.figures,
        f"{', '.join(ASCENDING)} fall": told != sorted(told),
        "mean_ms is not between min_ms and max_ms": "mean_ms" in row.figures and not within,
    }
    return next((fault for fault, holds in faults.items() if holds), "")


def _count(name: str, told: Mapping[str, str], key: str) -> int:
    if told[key] and not re.fullmatch(r"[1-9]\d{0,5}", told[key]):
        raise UsageError(_wrong(name, told["id"], f"{key} is a number from 1 on, or left empty, not {told[key]!r}"))
    return int(told[key] or 0)


def _number(name: str, row: str, key: str, text: str) -> float:
    figure = FIGURES[key]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and figure.low <= value <= figure.high):
        raise UsageError(_wrong(name, row, f"{key} is a number from {figure.low:g} to {figure.high:g}, not {text!r}"))
    return value


def _link(source: str) -> str:
    """The address that *source* stands for; empty where it is none."""
    if found := FILE_AT.fullmatch(source):
        return f"{GITHUB}/{found['repo']}/blob/{quote(found['commit'])}/{found['path']}"
    if found := THREAD.fullmatch(source):
        return f"{GITHUB}/{found['repo']}/issues/{found['number']}"
    return source if PAGE.fullmatch(source) else ""


def _wrong(name: str, row: str, why: str) -> str:
    return f"{name}.csv: row {row!r}: {why}; correct it"
