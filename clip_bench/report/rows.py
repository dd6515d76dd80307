"""Run files to one data frame: a row per planned cell, timed or not, in the units that tables print."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence

import pandas as pd

from clip_bench import finding, jsonfile, places, specs
from clip_bench.errors import UsageError
from clip_bench.finding import Finding
from clip_bench.places import Place
from clip_bench.record import Boundary, Cold, Entry, Outcome, Quality, Record
from clip_bench.report import platforms, roofs, speedups, timed, variants
from clip_bench.report.roofs import Ceilings
from clip_bench.runfile import Run, apart, from_file
from clip_bench.specs import Precision

Row = dict[str, object]

SCORES = ("top1", "top5", "agreement", "t2i_r1", "t2i_r5", "t2i_r10", "i2t_r1", "i2t_r5", "i2t_r10")
BASELINE = (str(specs.BASELINE), Precision.FP32, "")
CALL = (
    *("batch", "texts", "sequence", "image_size", "inside_clock", "threads"),
    *("load", "instances", "device_ids", "queue", "inputs"),
)
MB, PERCENT = 1e-6, 100

_WORDS = (
    *("machine", "run", "datetime", "chip", "ram", "case", "tower", "model", "weights", "target", "backend", "device"),
    *("precision", "variant", "outcome", "reason", "failures", "boundary", "data", "inside_clock"),
    *("executed_dtypes", "executed_nodes", "executed_note"),
    *("bare", "load", "device_ids", "inputs", "fed", "unstable", "energy_source", "bound", "verdict"),
)
_PARTS = (
    "rounds_s",
    "conditions",
    "steps",
    "ratio",
    "ceilings",
    "record",
)  # what a table of its own takes apart, or None
_COUNTS = (
    *("batch", "texts", "sequence", "image_size", "threads", "instances", "queue", "rounds", "warmups", "samples"),
    *("calls", "steady"),
)
_FIGURES = (
    *("similarity_mean", "similarity_min", "similarity_p1", "degrad_percent", "similarity_between"),
    *("identified_percent", "drift_floor", "drift_ratio", "difference"),
    *(f"{score}{part}_percent" for score in SCORES for part in ("", "_reference")),
    *("mean_ms", "p50_ms", "p90_ms", "min_ms", "max_ms", "throughput_avg", "throughput_max", "throughput_min"),
    *("p90_proven_ms", "p99_proven_ms", "call_s", "energy_j", "flops", "bytes", "reached_flops_s", "bound_percent"),
    *("speedup", "size_mb", "load_s", "first_s", "build_s", "peak_mb"),
)
COLUMNS = {
    **dict.fromkeys((*_WORDS, *_PARTS), "object"),
    **dict.fromkeys(_COUNTS, "Int64"),
    **dict.fromkeys(_FIGURES, "float64"),
}


def collect(paths: Iterable[Place]) -> tuple[list[Run], list[Finding]]:
    """Read the files of runs and findings, and those in folders at any depth, each once.

    A JSON file of something else is skipped in a folder (a warning counts them) and an error where it is named. Values
    per sample are left out; ``runfile.read`` of a run's ``path`` has them.

    Raises:
        UsageError: a named file is neither, or one is damaged or of another schema.
    """
    runs: dict[str, Run] = {}
    findings: dict[str, Finding] = {}
    foreign = 0
    for path in paths:
        folder = path.is_dir()
        for file in places.inside(path, "*.json") if folder else [path]:
            if (key := places.key(file)) in runs or key in findings:
                continue
            try:
                data = jsonfile.load(file, "give the JSON file of a run")
            except UsageError:
                if folder and not _begun(file):
                    foreign += 1
                    continue
                raise
            if isinstance(data, dict) and finding.KEY in data:
                findings[key] = finding.from_file(file, data)
            elif folder and not (isinstance(data, dict) and "outcomes" in data):
                foreign += 1
            else:
                runs[key] = from_file(file, data, samples=False)
    if foreign:
        logging.getLogger(__name__).warning("%d JSON files that are no clip-bench run were left out", foreign)
    return [each for run in runs.values() for each in apart(run)], list(findings.values())


def _begun(path: Place) -> bool:
    """Whether a file that is no JSON may be a run or a finding that was cut short, or cannot be read at all."""
    try:
        stored = places.read(path)
    except OSError:
        return True
    return any(f'"{key}"'.encode() in stored for key in ("outcomes", finding.KEY))


def frame(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per entry of every run, in their order; the columns and their types are always :data:`COLUMNS`.

    Latencies are in ms, sizes in MB (10^6 bytes), load, first call and build in s, accuracies in percent,
    throughput in samples/s, energy in J for 1000 embeddings. Where a cell has several outputs, its worst counts. Times
    of calls are given only for a cell that ended ok on hardware, accuracies only for trained weights. ``bare`` is the
    variant without what the call tells. ``speedup`` is what a call of FP32 on ``torch-cpu`` costs (``call_s``) over the
    cell's own: same run, model, tower and call. ``ratio`` is that of the two in interleaved blocks.

    Raises:
        UsageError: a record's timing cannot be true (no rounds, a time of zero).
    """
    rows = [row for run in runs for row in of_run(run)]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype="object").astype(COLUMNS)


def newest(runs: Sequence[Run]) -> list[int]:
    """Which entries are the newest measurement of their cell, or of a cell never run its newest skip.

    *runs* are newest first; entries are counted through all of them.
    """
    chosen: dict[str, int] = {}
    entries = [entry for run in runs for entry in run.entries]
    for skipped in (False, True):
        for place, entry in enumerate(entries):
            if (entry.outcome is Outcome.SKIPPED) is skipped:
                chosen.setdefault(entry.case, place)
    return sorted(chosen.values())


def of_run(run: Run) -> list[Row]:
    """The rows of one run, as :func:`frame` has them; a column that says nothing may be missing.

    Raises:
        UsageError: a record's timing cannot be true.
    """
    try:
        ceilings = roofs.read(run.machine)
    except UsageError as exc:
        msg = f"{run.name}: {exc}"
        raise UsageError(msg) from exc
    return _with_speedup([_row(run, entry, ceilings) for entry in run.entries])


def _row(run: Run, entry: Entry, ceilings: Ceilings | None) -> Row:
    record, place = entry.record, platforms.device(entry.record.target)
    try:
        timing = _timing(entry, place, ceilings)
    except UsageError as exc:
        msg = f"{run.name}: {entry.case}: {exc}"
        raise UsageError(msg) from exc
    return (
        dict.fromkeys(_WORDS, "")
        | dict.fromkeys(_PARTS)
        | _identity(run, entry, place)
        | _call(record.boundary)
        | _quality(record)
        | _cold(record.cold, place, timed="rounds" in timing)
        | timing
        | _artifact(record)
    )


def _identity(run: Run, entry: Entry, place: str) -> Row:
    record = entry.record
    return {
        "machine": platforms.machine_name(run.machine),
        "run": run.name,
        "datetime": run.datetime,
        "chip": platforms.chip(run.machine, place),
        "ram": platforms.ram(run.machine),
        "backend": platforms.backend(record.target),
        "device": place,
        "case": entry.case,
        "outcome": str(entry.outcome),
        "reason": entry.reason,
        "boundary": entry.boundary,
        "record": record,
        "bare": variants.bare(record.variant),
        **{word: getattr(record, word) for word in ("tower", "model", "weights", "target", "precision", "variant")},
    }


def _call(boundary: Boundary | None) -> Row:
    if boundary is None:
        return {}
    told = {name: getattr(boundary, name) for name in CALL}
    lists = {"inside_clock": boundary.inside_clock, "device_ids": boundary.device_ids}
    joined = {name: ", ".join(map(str, several)) for name, several in lists.items()}
    fed = {"trimmed": bool(boundary.lengths), "folded": boundary.pixels != "float32"}
    words = "-".join(name for name, holds in fed.items() if holds)
    return told | joined | {"data": boundary.data_sha256[:16], "fed": words}


def _quality(record: Record) -> Row:
    quality = record.quality
    if quality is None:
        return {}
    trained = record.weights != "random"
    return _similarity(quality) | (_scores(quality) if trained else {}) | {"failures": "; ".join(quality.failures)}


def _similarity(quality: Quality) -> Row:
    outputs = quality.similarity
    if not outputs:
        return {}
    return {
        "similarity_mean": min(output.mean for output in outputs),
        "similarity_min": min(output.minimum for output in outputs),
        "similarity_p1": min(output.p1 for output in outputs),
        "degrad_percent": max(output.degrad for output in outputs),
        "similarity_between": max(output.between for output in outputs),
        "identified_percent": PERCENT * min(output.identified for output in outputs),
        "drift_floor": max(output.floor_drift for output in outputs),
        "drift_ratio": max(output.drift_ratio for output in outputs),
        "difference": max(
            (math.nan if each.difference is None else each.difference for each in outputs), default=math.nan
        ),
    }


def _scores(quality: Quality) -> Row:
    row: Row = {}
    for score in quality.scores:
        if score.name in SCORES:
            row[f"{score.name}_percent"] = PERCENT * score.value
            row[f"{score.name}_reference_percent"] = PERCENT * score.reference
        if score.name == "top1":
            row["samples"] = score.samples
    return row


def _timing(entry: Entry, place: str, ceilings: Ceilings | None) -> Row:
    """What the time says, and what it says of the work; only the work where there is none."""
    record, at = entry.record, (place, entry.record.precision)
    timing = timed.due(entry)
    if timing is None:
        return roofs.columns(record.work, None, ceilings, at)
    told = timed.columns(record, timing)
    ratio = speedups.of(record.paired) if record.paired else None
    return told | {"ratio": ratio} | roofs.columns(record.work, timed.call_s(record, timing), ceilings, at)


def _cold(cold: Cold | None, place: str, *, timed: bool) -> Row:
    if cold is None:
        return {}
    row: Row = {"build_s": cold.build_s, "steps": cold.steps}
    if place not in platforms.NOT_HARDWARE:
        row |= {
            "calls": len(cold.calls_s),
            "steady": cold.steady,
            "load_s": cold.load_s,
            "peak_mb": math.nan if cold.peak_bytes is None else MB * cold.peak_bytes,
        }
    return row | ({"first_s": cold.first_s} if timed else {})


def _artifact(record: Record) -> Row:
    row: Row = {} if record.artifact is None else {"size_mb": MB * record.artifact.size_bytes}
    executed = record.executed
    if executed is None:
        return row
    told = {"executed_dtypes": _counts(executed.dtypes), "executed_nodes": _counts(executed.nodes)}
    return row | told | {"executed_note": executed.note}


def _counts(of: dict[str, int]) -> str:
    """The most frequent first: 'f32 412, bf16 3'."""
    return ", ".join(f"{name} {count}" for name, count in sorted(of.items(), key=lambda item: (-item[1], item[0])))


def _with_speedup(rows: list[Row]) -> list[Row]:
    def call(row: Row) -> tuple[object, ...]:
        return tuple(row.get(name) for name in ("model", "tower", "fed", *CALL))

    def cost(row: Row) -> float | None:
        value = row.get("call_s")
        return value if isinstance(value, float) else None

    baselines = {
        call(row): cost(row) for row in rows if tuple(row[k] for k in ("target", "precision", "bare")) == BASELINE
    }
    for row in rows:
        base, own = baselines.get(call(row)), cost(row)
        if base is not None and own is not None and row["backend"] != platforms.NULL:
            row["speedup"] = base / own
    return rows
