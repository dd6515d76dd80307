"""The kill matrix: which gate kills which saboteur, at which precision, and what the published metric says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from clip_bench.finding import Alarms, Gates, Tried
from clip_bench.report.blocks import join
from clip_bench.report.figures import ABSENT, clean, fixed, markdown, shorten

BEYOND = 3  # times the drift of the precision itself: a saboteur that drifts further must be killed
MOST_ALARMS = 1e-3
FLOAT = "fp32"
HEADS, FIGURES, WHAT = ("Saboteur",), ("Drift in fp32", "Published accuracy (%)"), ("Saboteur", "Changes a", "What")
TRUE = "none (the true cell)"
LEGEND = (
    "A saboteur is the real pipeline with one weight, node, feed or call changed; none edits an embedding. A cell names the "
    "gates that kill it. *Undetectable*: it drifts no further than three times what the precision itself drifts; both are "
    "told. **LIVES**: it drifts further, and no gate saw it. *Drift* is the mean of 1 - cosine to the reference; that of "
    "the true cell is the precision's own, of the same batch. *Published accuracy* is what the Olive CLIP examples would "
    "print of the FP32 cell: the right text stands first, and argmax of constants, or of what is no number, is the first."
)


class Verdict(StrEnum):
    """What became of a broken cell."""

    KILLED = "killed"
    REFUSED = "refused"
    UNDETECTABLE = "undetectable"
    LIVES = "LIVES"


def page(told: Gates) -> str:
    """A matrix for each tower, what the saboteurs are, and how often true cells were taken for broken."""
    parts = [f"On {clean(told.model)}, trained weights.", LEGEND]
    for tower in dict.fromkeys(each.tower for each in told.tried):
        parts += [f"### Saboteurs of the {clean(tower)} tower", _matrix([x for x in told.tried if x.tower == tower])]
    what = {each.saboteur: each for each in told.tried if each.saboteur}
    rows = [[clean(name), clean(each.kind), clean(each.what)] for name, each in what.items()]
    return join([*parts, "### What each changes", markdown(WHAT, rows, len(WHAT)), _alarms(told.alarms)])


def living(told: Gates) -> list[str]:
    """A line for each broken cell that no gate saw, true cell that one refused, and too frequent false alarm."""
    lines = [
        f"{each.case}: {each.saboteur} lives, with a drift of {_drift(each.drift)}"
        for each in told.tried
        if each.saboteur and verdict(each, told.tried) is Verdict.LIVES
    ]
    lines += [
        f"{each.case}: the true cell is refused: {', '.join(each.gates) or each.error}"
        for each in told.tried
        if not each.saboteur and (each.gates or each.error)
    ]
    draws, failed = sum(each.draws for each in told.alarms), sum(each.failed for each in told.alarms)
    if draws and failed / draws > MOST_ALARMS:
        lines.append(f"{failed} false alarms in {draws} draws")
    return lines


def verdict(tried: Tried, others: Sequence[Tried]) -> Verdict:
    """What became of *tried*, one of *others*: it must be killed where it drifts further than the precision would explain."""
    if tried.gates:
        return Verdict.KILLED
    if tried.error:
        return Verdict.REFUSED
    own, float_drift = _own(tried, others), _float(tried, others)
    known = [drift for drift in (tried.drift, float_drift) if drift is not None]
    if own is None or len(known) < 2 or max(known) > BEYOND * own:  # noqa: PLR2004  both
        return Verdict.LIVES
    return Verdict.UNDETECTABLE


def _matrix(tried: Sequence[Tried]) -> str:
    precisions = list(dict.fromkeys(each.precision for each in tried))
    found = {(each.saboteur, each.batch, each.precision): each for each in tried}
    rows = []
    for name, batch in dict.fromkeys((each.saboteur, each.batch) for each in tried):
        several = [found[name, batch, precision] for precision in precisions if (name, batch, precision) in found]
        first = found[name, batch, FLOAT]
        cells = [_cell(each, tried) for each in several]
        title = f"{clean(name) if name else TRUE}{f', batch {batch}' if batch > 1 else ''}"
        rows.append([title, *cells, _drift(first.drift), fixed(first.published_percent, 1)])
    heads = (*HEADS, *(clean(each) for each in precisions), *FIGURES)
    return markdown(heads, rows, len(heads) - len(FIGURES))


def _cell(each: Tried, tried: Sequence[Tried]) -> str:
    if not each.saboteur:
        return f"drift {_drift(each.drift)}" if not (each.gates or each.error) else f"**refused**: {_why(each)}"
    match verdict(each, tried):
        case Verdict.KILLED:
            return _why(each)
        case Verdict.REFUSED:
            return f"refused: {_why(each)}"
        case Verdict.UNDETECTABLE:
            drift = max(filter(None, (each.drift, _float(each, tried))), default=0.0)
            return f"undetectable ({_drift(drift)}, own {_drift(_own(each, tried))})"
        case Verdict.LIVES:
            return f"**LIVES** ({_drift(each.drift)}, own {_drift(_own(each, tried))})"


def _why(each: Tried) -> str:
    return clean(", ".join(each.gates) or shorten(each.error))


def _own(each: Tried, others: Sequence[Tried]) -> float | None:
    """The drift of the true cell of the same precision and batch."""
    return _find(others, "", each, each.precision)


def _float(each: Tried, others: Sequence[Tried]) -> float | None:
    """The drift of the same saboteur in FP32."""
    return _find(others, each.saboteur, each, FLOAT)


def _find(others: Sequence[Tried], saboteur: str, each: Tried, precision: str) -> float | None:
    told: Mapping[tuple[str, str, int, str], float | None] = {
        (x.saboteur, x.tower, x.batch, x.precision): x.drift for x in others
    }
    return told.get((saboteur, each.tower, each.batch, precision))


def _alarms(alarms: Sequence[Alarms]) -> str:
    draws, failed = sum(each.draws for each in alarms), sum(each.failed for each in alarms)
    if not draws:
        return ""
    return (
        f"False alarms: {failed} in {draws:,} draws, over {len(alarms)} true cells whose answers were turned, each time "
        "anew, by as much as the reference drifts from itself."
    )


def _drift(drift: float | None) -> str:
    return ABSENT if drift is None else f"{drift:.2g}"
