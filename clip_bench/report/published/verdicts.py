"""The roofline's verdict on a published row, in words: possible, impossible as told, or which fact is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from clip_bench.report import audit, naming, peaks
from clip_bench.report.audit import Audited, Published
from clip_bench.report.figures import fixed
from clip_bench.report.peaks import ROOFS, Peak
from clip_bench.report.published.rows import Row
from clip_bench.specs import Tower
from clip_bench.timing.roofline import Bound, Verdict, Word

TIMES = ("mean_ms", "p50_ms", "time_ms")
DOCUMENTS = ("cbs100_ms", "cbs50_ms", "cbs10_ms", "cbs1_ms")
UNNAMED = "the device is not named"
DEFAULT = "fp32"  # what a framework computes in where nobody says otherwise


class Kind(StrEnum):
    """What a verdict comes to."""

    POSSIBLE = "possible"
    SUSPECT = "possible, but suspect"
    IMPOSSIBLE = "impossible as told"
    UNTOLD = "cannot be told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A verdict in *words*, with the least time of a call, or of a sample where the batch is not told, and its peak."""

    kind: Kind
    words: str
    least_ms: float | None = None
    peak: Peak | None = None


def of(row: Row) -> Told | None:
    """The verdict on the time of *row*; None where it has none of a tower, nor a rate.

    A row that claims no precision is held against FP32.
    """
    timed = _timed(row)
    if timed is None:
        return None
    value, unit = timed
    claimed = row.precision or DEFAULT
    if why := _missing(row, claimed, per_call=unit == "ms"):
        return _untold(why)
    call = Published(
        id=row.id,
        model=row.architecture,
        boundary="fused" if row.tower == Tower.PAIR else row.tower,
        batch=(f"{row.batch}+{row.texts}" if row.texts else str(row.batch)) if row.batch else "?",
        precision_claimed=claimed,
        hardware=row.hardware,
        runtime=row.runtime,
        metric="",
        value=repr(value),
        unit=unit,
        source=row.source,
        audit_note="",
    )
    (found,) = audit.examine(call)
    if not isinstance(found, Audited):
        return _untold(found.reason)
    if found.peak is None:
        slow = found.verdict.word is Word.FALLBACK
        more = f", and the time is below the {audit.FLOOR_FLOPS_S / 1e9:g} GFLOP/s of half a core" if slow else ""
        return _untold(f"{UNNAMED}{more}")
    return _held(found, found.peak, claimed=bool(row.precision))


def _missing(row: Row, claimed: str, *, per_call: bool) -> str:
    """The first fact without which there is no verdict; empty where all are told."""
    named = not audit.UNNAMED.search(row.hardware.lower())
    missing = {
        "no closed form of the model's work": naming.model(row.architecture) is None,
        "the batch is not told": per_call and not row.batch,
        "the number of texts is not told": row.tower == Tower.PAIR and not row.texts,
        "no peak of the device is published": named
        and peaks.find(f"{row.hardware} {row.runtime}", naming.precisions(claimed)[0]) is None,
    }
    return next((fact for fact, holds in missing.items() if holds), "")


def _timed(row: Row) -> tuple[float, str] | None:
    """The figure that the verdict is on, with its unit: the central time, or the highest rate; None without a tower."""
    if not row.tower:
        return None
    for name in TIMES:
        if name in row.figures:
            return row.figures[name], "ms"
    if "rate_s" in row.figures:
        return row.figures["rate_s"], "samples/s"
    documents = [row.figures[name] for name in DOCUMENTS if name in row.figures]
    return (1e3 / min(documents), "samples/s") if documents else None


def _held(found: Audited, peak: Peak, *, claimed: bool) -> Told:
    verdict = found.verdict
    share, roof = _share(verdict, peak)
    least_ms = 1e3 * verdict.bound_s
    if verdict.word is Word.IMPOSSIBLE:
        told = Kind.IMPOSSIBLE if claimed else f"impossible in {DEFAULT}, and no other is told"
        words = f"**{told}** ({fixed(100 * (share - 1), 1)} % over {roof}): {_explained(found)}"
        return Told(kind=Kind.IMPOSSIBLE, words=words, least_ms=least_ms, peak=peak)
    words = f"possible{'' if claimed else f' even in {DEFAULT}'} ({fixed(100 * share, 1)} % of {roof})"
    if verdict.word is Word.FALLBACK:
        words = f"{words}, but so slow that it may have run elsewhere"
        return Told(kind=Kind.SUSPECT, words=words, least_ms=least_ms, peak=peak)
    return Told(kind=Kind.POSSIBLE, words=words, least_ms=least_ms, peak=peak)


def _explained(found: Audited) -> str:
    """The widest narrower precision in which the device could have done it."""
    for word in ROOFS[found.precision]:
        (again,) = audit.examine(replace(found.row, precision_claimed=word))
        if isinstance(again, Audited) and again.peak and again.verdict.word is not Word.IMPOSSIBLE:
            share, roof = _share(again.verdict, again.peak)
            return f"{word} would explain it ({fixed(100 * share, 1)} % of {roof})"
    return "no precision of this device explains it, but less work, another device or a clock that stops early would"


def _share(verdict: Verdict, peak: Peak) -> tuple[float, str]:
    """The share of the roof that is met first, and its name; a cache lets a call pass that of memory alone."""
    compute = verdict.flops_s / peak.ceiling.flops_s
    if verdict.bound is Bound.COMPUTE or compute > 1:
        return compute, f"the {peak.precision} peak"
    return verdict.share, "the memory's peak" if verdict.share <= 1 else "the memory's peak: a cache held the weights"


def _untold(why: str) -> Told:
    return Told(kind=Kind.UNTOLD, words=f"cannot be told: {why}")
