"""Times that others published, held against what the hardware that they name can do at most."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from clip_bench import files
from clip_bench.errors import UsageError
from clip_bench.record import Work
from clip_bench.report import naming, peaks
from clip_bench.report.figures import ABSENT, clean, fixed, markdown, millis
from clip_bench.report.peaks import TERA, Peak
from clip_bench.specs import Precision, Tower
from clip_bench.timing.roofline import FALLBACK_FACTOR, Ceiling, Sizes, Verdict, Word, verdict, work

# A vendor's peak is not reached, so that only roundings lie between it and the impossible: 8.1 for 8.14 TFLOP/s, three
# digits of a time. What an exact rewrite may leave out is taken off the FLOPs before (work's ``least``).
MARGIN = 1.02
# Half of what one core with two 256-bit FMA units does at 3 GHz (96 GFLOP/s in FP32): slower than this is suspect on
# any device, so that one without a name has a floor, and no peak.
FLOOR_FLOPS_S = 48e9
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
RATES = {"img/s", "images/s", "samples/s", "samples/sec", "texts/s", "req/s", "qps", "it/s", "/s"}
UNNAMED = re.compile(r"unnamed|not named|unknown")
NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
BELIEVABLE_S = (1e-9, 1e9)
HEADS = ("Row", "Model", "Tower", "Batch", "Claimed", "Hardware", "Against", "Notes", "Verdict", "Impossible in FP32")
FIGURES = ("Time (ms)", "TFLOP/s", "Of peak (%)", "Bound", "Of bound (%)")
LEGEND = (
    "TFLOP/s is the work of the closed form over the published time. *Of peak* is its share of the highest dense rate "
    "that the vendor publishes for the claimed precision; *Of bound* is the bound's time, of compute or of memory, "
    f"over the published one. Impossible: more than {MARGIN:g} times faster than the bound, after what an exact rewrite "
    f"may leave out. Fallback suspected: more than {FALLBACK_FACTOR:g} times slower, and twice that for each halving "
    "of width where only a narrower precision has a published peak; a device without a name is held to "
    f"{FLOOR_FLOPS_S / 1e9:g} GFLOP/s. TF32 is not FP32."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One row as somebody published it, in words; its fields are the columns of the file."""

    id: str
    model: str
    boundary: str
    batch: str
    precision_claimed: str
    hardware: str
    runtime: str
    metric: str
    value: str
    unit: str
    source: str
    audit_note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One figure of a row with its verdict; ``peak`` is None for a device without a name.

    ``batch`` is 0 where a rate does not tell it, ``texts`` are beside the pictures of a fused graph. ``fp32`` is
    whether the time would be impossible in FP32, whatever it claims: yes, no, or why that is not known.
    """

    row: Published
    tower: Tower
    batch: int
    texts: int
    precision: Precision
    seconds: float
    verdict: Verdict
    peak: Peak | None
    fp32: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unaudited:
    """A row that cannot be held against anything, and why."""

    row: Published
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """One number of a row, understood."""

    sizes: Sizes
    tower: Tower
    batch: int
    texts: int
    seconds: float
    notes: tuple[str, ...]

    def work(self, precision: Precision, *, least: bool = False) -> Work | None:
        """The work that took the seconds; without bytes where the batch that shares the weights is not told."""
        texts = self.texts or 1
        done = work(self.sizes, self.tower, precision, batch=self.batch or 1, texts=texts, least=least)
        return done and (done if self.batch else replace(done, bytes=0.0))


def read(path: Path) -> tuple[Published, ...]:
    """The rows of a CSV file with the columns of :class:`Published`, others being ignored.

    Raises:
        UsageError: the file cannot be read, is no CSV, lacks a column or has a row of another length, or no row.
    """
    names = [field.name for field in fields(Published)]
    try:
        stored = files.read(path).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(stored, newline=""), strict=True)
        lacking = ", ".join(name for name in names if name not in (reader.fieldnames or ()))
        if lacking:
            msg = f"{path}: no column {lacking}; published rows have {','.join(names)}"
            raise UsageError(msg)
        rows = tuple(_row(path, reader.line_num, dict(each), names) for each in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        msg = f"{path}: cannot be read as CSV ({getattr(exc, 'strerror', None) or exc}); give a file of published rows"
        raise UsageError(msg) from exc
    if not rows:
        msg = f"{path}: no row in it; give a file of published rows"
        raise UsageError(msg)
    return rows


def examine(row: Published) -> tuple[Audited | Unaudited, ...]:
    """The verdict on each figure of *row*: one per tower that it names; or why there is none."""
    claimed = naming.precisions(row.precision_claimed)
    figures = _figures(row)
    if isinstance(figures, str):
        return (Unaudited(row=row, reason=figures),)
    if len(claimed) != 1:
        several = "no precision that is known" if not claimed else "several precisions"
        return (Unaudited(row=row, reason=f"{row.precision_claimed!r} claims {several}"),)
    found = peaks.find(f"{row.hardware} {row.runtime}", claimed[0])
    if found is None and not UNNAMED.search(row.hardware.lower()):
        return (Unaudited(row=row, reason=f"no published peak is known for {row.hardware!r} at {claimed[0]}"),)
    return tuple(_audited(row, figure, claimed[0], found) for figure in figures)


def page(rows: Sequence[Published]) -> str:
    """Two tables in markdown: the rows with a verdict, and those without, each with its reason."""
    told = [each for row in rows for each in examine(row)]
    audited = [each for each in told if isinstance(each, Audited)]
    rest = [
        [clean(each.row.id), clean(each.row.model), clean(each.reason)] for each in told if isinstance(each, Unaudited)
    ]
    counts = [f"{sum(each.verdict.word is word for each in audited)} {word}" for word in Word]
    parts = [
        f"{len(rows)} rows: {len(audited)} figures audited ({', '.join(counts)}), {len(rest)} rows not audited.",
        LEGEND,
        markdown((*HEADS, *FIGURES), [_line(each) for each in audited], left=len(HEADS)),
        markdown(("Row", "Model", "Not audited, because"), rest, left=3),
    ]
    return "\n\n".join(parts) + "\n"


def _row(path: Path, line: int, cells: dict[str | None, str | None], names: Sequence[str]) -> Published:
    if None in cells or None in cells.values():
        msg = f"{path}: line {line} has {'more' if None in cells else 'fewer'} fields than the first; quote commas"
        raise UsageError(msg)
    return Published(**{name: str(cells[name]).strip() for name in names})


def _figures(row: Published) -> tuple[_Figure, ...] | str:
    """What the row measured, one figure for each tower that it names, or why that cannot be told."""
    unit, size = row.unit.lower().strip(), naming.batch(row.batch)
    named, sizes = naming.towers(row.boundary), naming.model(row.model)
    count, texts = size or (0, 0)
    times = _seconds(row.value, unit, count)
    reasons = {
        f"{row.metric!r} in {row.unit!r} is no time and no rate": unit not in SECONDS and unit not in RATES,
        f"{row.model!r} is no model of known work": sizes is None,
        f"{row.boundary!r} names no tower": not named,
        f"the batch is not told: {row.batch!r}": not count and unit in SECONDS,
        "a fused graph whose number of texts is not told": Tower.PAIR in named and not texts,
        f"{len(named)} towers and {len(times)} numbers in {row.value!r}": len(named) > 1 and len(times) != len(named),
        f"no positive number in {row.value!r}": not times
        or not BELIEVABLE_S[0] < min(times) <= max(times) < BELIEVABLE_S[1],
    }
    reason = next((reason for reason, holds in reasons.items() if holds), "")
    if reason or sizes is None:
        return reason
    notes = _notes(row, several=len(times) > len(named), rate=unit in RATES, count=count)
    return tuple(
        _Figure(sizes=sizes, tower=tower, batch=count, texts=texts, seconds=seconds, notes=notes)
        for tower, seconds in zip(named, times, strict=False)
    )


def _seconds(value: str, unit: str, count: int) -> list[float]:
    """Seconds of a call of *count* samples for each number in *value*, or of one sample; 0 where it is not positive."""
    numbers = [float(number) for number in NUMBER.findall(THOUSANDS.sub("", value.lower()))]
    if unit in SECONDS:
        return [SECONDS[unit] * number for number in numbers]
    return [(count or 1) / number if number > 0 else 0.0 for number in numbers]


def _notes(row: Published, *, several: bool, rate: bool, count: int) -> tuple[str, ...]:
    """What a reader must know of how the row was read."""
    told = {
        f"the first number of {row.value!r}": several,
        "time per sample from its rate": rate and not count,
        "time per call from its rate": rate and bool(count),
        "batch not told, so that no bytes are counted": not count,
        "'float' read as fp16": re.search(r"float(?!\d)", row.precision_claimed.lower()) is not None,
    }
    return tuple(note for note, holds in told.items() if holds)


def _audited(row: Published, figure: _Figure, precision: Precision, peak: Peak | None) -> Audited:
    return Audited(
        row=row,
        tower=figure.tower,
        batch=figure.batch,
        texts=figure.texts,
        precision=precision,
        seconds=figure.seconds,
        verdict=_verdict(figure, precision, peak),
        peak=peak,
        fp32=_fp32(row, figure),
        notes=figure.notes,
    )


def _verdict(figure: _Figure, precision: Precision, peak: Peak | None) -> Verdict:
    whole, least = figure.work(precision), figure.work(precision, least=True)
    if whole is None or least is None:
        msg = f"naming gave a model without a closed form for {figure.tower}: report this row to clip-bench"
        raise UsageError(msg)
    if peak is None:
        ceiling = Ceiling(FLOOR_FLOPS_S * FALLBACK_FACTOR, math.inf, "the floor of any device")
        return verdict(whole, figure.seconds, ceiling, margin=math.inf)
    margin, factor = MARGIN * whole.flops / least.flops, FALLBACK_FACTOR * 2**peak.steps
    return verdict(whole, figure.seconds, peak.ceiling, margin=margin, factor=factor)


def _fp32(row: Published, figure: _Figure) -> str:
    """Whether the time would be impossible in FP32."""
    peak = peaks.find(f"{row.hardware} {row.runtime}", Precision.FP32)
    if peak is None:
        return "no peak"
    if _verdict(figure, Precision.FP32, peak).word is Word.IMPOSSIBLE:
        return "yes"
    return "no FP32 peak published" if peak.steps else "no"


def _line(told: Audited) -> list[str]:
    """The cells of :data:`HEADS` and :data:`FIGURES`."""
    row, peak, found = told.row, told.peak, told.verdict
    word = f"**{found.word}**" if found.word is not Word.PLAUSIBLE else str(found.word)
    batch = "+".join(filter(None, (str(told.batch or "?"), str(told.texts or ""))))
    words = (row.id, row.model, told.tower, batch, row.precision_claimed, row.hardware)
    return [
        *(clean(text) for text in words),
        clean(f"{peak}" if peak else f"floor of {FLOOR_FLOPS_S / 1e9:g} GFLOP/s"),
        clean("; ".join(told.notes)),
        f"{word} for the claimed precision" if found.word is Word.IMPOSSIBLE else word,
        told.fp32,
        millis(1e3 * told.seconds),
        fixed(found.flops_s / TERA, 3),
        fixed(100 * found.flops_s / peak.ceiling.flops_s, 1) if peak else ABSENT,
        str(found.bound) if peak else ABSENT,
        fixed(100 * found.share, 1) if peak else ABSENT,
    ]
