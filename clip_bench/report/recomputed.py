"""The summaries of a record made again from its raw times and its values per sample, by the code that made them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import starmap
from typing import Any

from clip_bench import witness
from clip_bench.errors import UsageError
from clip_bench.quality import gates, metrics, scores, values
from clip_bench.record import Entry, Outcome, Quality, Record, Score, Similarity
from clip_bench.runfile import Run
from clip_bench.specs import Precision

CLOSE = 1e-9  # relative: sums of one Python differ from another's in their last places; links are exact
TINY = 1e-15
Figures = Similarity | Score


def faults(run: Run, data: Mapping[str, Any]) -> Iterator[str]:
    """What in *run*, read from *data*, does not follow from its raw values, a line each that names the cell."""
    rows = witness.rows(data)
    shared: dict[tuple[str, ...], tuple[str, object]] = {}
    for entry in run.entries:
        checks = (_named(entry), _timed(entry, rows.pop(entry.case, [])), _judged(entry), _shared(entry, shared))
        for check in checks:
            yield from (f"{entry.case}: {fault}" for fault in guarded(check))
    yield from (f"{name}: pytest-benchmark timed it, and there is no such cell" for name in rows)
    if bare := sum(_bare(entry.record) for entry in run.entries):
        yield f"{bare} cells keep no values per sample to recompute their figures from: an older version measured them"


def guarded(check: Iterator[str]) -> Iterator[str]:
    """What *check* finds, and where values make no figure at all, that."""
    try:
        yield from check
    except (UsageError, LookupError, ValueError, ArithmeticError) as exc:
        yield f"its figures cannot be made again: {exc}"


def _bare(record: Record) -> bool:
    """Whether it has figures of quality, and nothing that they sum up."""
    return record.quality is not None and bool(record.quality.similarity) and not record.quality.compared


def _named(entry: Entry) -> Iterator[str]:
    """Names that are told twice."""
    record, boundary = entry.record, entry.record.boundary
    if entry.case != record.case:
        yield f"its record is that of {record.case}"
    if entry.boundary != (boundary.digest if boundary else ""):
        yield f"boundary {entry.boundary or 'none'}, and its fields make {boundary.digest if boundary else 'none'}"
    if boundary and record.artifact and boundary.recipe != record.artifact.key:
        yield "the artifact's key is not the recipe of the boundary"


def _timed(entry: Entry, rows: Sequence[Any]) -> Iterator[str]:
    """pytest-benchmark's row against the raw times: one of a cell that ended ok with a time, else none.

    Where several requests ran at once, pytest-benchmark timed once what holds the window in which all of them ran.
    """
    from pytest_benchmark.stats import Stats

    timing = entry.record.timing
    due = timing is not None and entry.outcome is Outcome.OK
    if len(rows) != due:
        yield f"{len(rows)} rows of pytest-benchmark where {int(due)} should be"
    if timing is None or len(rows) != 1:
        return
    told = rows[0].get("stats") if isinstance(rows[0], Mapping) else None
    raw = list(timing.rounds_s)
    if timing.window_s is not None:
        raw = _whole(told, timing.window_s)
    made: Any = Stats()  # type: ignore[no-untyped-call]  # pytest-benchmark has no types
    made.data = raw
    expected = {**made.as_dict(), "data": raw, "iterations": 1}
    if not isinstance(told, Mapping) or told.keys() - {"data"} != expected.keys() - {"data"}:
        yield "its row of pytest-benchmark has other statistics than these"
        return
    unlike = [name for name, value in told.items() if not close(value, expected[name])]
    if unlike:
        first, others = unlike[0], f" ({len(unlike) - 1} more are unlike, too)" if len(unlike) > 1 else ""
        yield f"stats.{first} {brief(told[first])}, and the raw times make it {brief(expected[first])}{others}"


def _whole(told: object, window_s: float) -> list[float]:
    """The one time of a row that holds the window; the window itself where the row has no such time."""
    data = told.get("data") if isinstance(told, Mapping) else None
    held = isinstance(data, list) and len(data) == 1 and isinstance(data[0], float) and data[0] >= window_s
    return data if held and data else [window_s]


def _judged(entry: Entry) -> Iterator[str]:
    """Similarity, scores and what the gate said, against the values per sample."""
    quality = entry.record.quality
    if quality is None:
        if entry.outcome is Outcome.OK:
            yield "it ended ok, and nothing was compared"
        return
    if _bare(entry.record):
        return
    similarity = tuple(starmap(metrics.similarity, zip(quality.compared, *_taken(quality), strict=True)))
    scored = tuple(score for each in quality.answered for score in scores.summed(each))
    yield from _unlike(quality.similarity, similarity, lambda each: each.output)
    yield from _unlike(quality.scores, scored, lambda each: each.name)
    lengths = {each.output: (each.drift, each.identified, each.difference) for each in quality.compared}
    for output, texts in lengths.items():
        if len({values.read(text).size for text in texts}) > 1:
            yield f"{output}: its values per sample are not of as many samples"
    unheld = gates.unheld(Precision(entry.record.precision), similarity, scored)
    if entry.outcome is Outcome.OK and (unheld or quality.failures):
        yield f"it ended ok, and its figures fail the gate: {'; '.join(unheld or quality.failures)}"
    if entry.outcome is Outcome.GATE_FAILED and not quality.failures:
        yield "it failed the gate, and no reason is given"


def _taken(quality: Quality) -> tuple[list[float], list[float | None]]:
    """Two figures that are taken as told: of the reference's rows, which no record holds, and of earlier runs."""
    return [each.between for each in quality.similarity], [each.known_drift for each in quality.similarity]


def _shared(entry: Entry, seen: dict[tuple[str, ...], tuple[str, object]]) -> Iterator[str]:
    """Figures of the reference alone are the same in every cell that is held against it."""
    record = entry.record
    if record.quality is None or record.boundary is None:
        return
    for similarity, compared in zip(record.quality.similarity, record.quality.compared, strict=False):
        key = (record.tower, similarity.output, record.boundary.data_sha256, record.boundary.reference_sha256)
        told = (similarity.between, compared.floor)
        other, first = seen.setdefault(key, (entry.case, told))
        if told != first:
            yield f"{similarity.output}: the reference's own figures are not those in {other}"


def _unlike(told: Sequence[Figures], made: Sequence[Figures], name: Callable[[Any], str]) -> Iterator[str]:
    """Where *told* is not what *made* is, figure by figure."""
    if [name(each) for each in told] != [name(each) for each in made]:
        yield f"{[name(each) for each in told]} are told, and the values per sample make {[name(each) for each in made]}"
        return
    for one, other in zip(told, made, strict=True):
        ours = asdict(other)
        yield from (
            f"{name(one)}: {field} {brief(value)}, and the values per sample make it {brief(ours[field])}"
            for field, value in asdict(one).items()
            if not close(value, ours[field])
        )


def close(told: object, made: object) -> bool:
    """Whether a figure is as good as the one that was made again."""
    if isinstance(told, list) and isinstance(made, list):
        return told == made
    if isinstance(told, bool) or not isinstance(told, int | float) or not isinstance(made, int | float):
        return told == made
    return math.isclose(told, made, rel_tol=CLOSE, abs_tol=TINY)


def brief(value: object) -> str:
    """A figure for a message."""
    return f"{value:.9g}" if isinstance(value, float) else str(value)[:60]
