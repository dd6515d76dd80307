"""Two sides cell by cell: what changed, beside what pairs that ran the same program twice differ by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from clip_bench.errors import UsageError
from clip_bench.report import platforms
from clip_bench.report.sides import Cell, Side
from clip_bench.timing.windows import Change, change

CONFIDENCE = 0.95
MADE = ("graph", "recipe")  # either tells that a graph was made in the same way: an export twice is not the same bytes


class Verdict(StrEnum):
    """What became of a cell's time, the most urgent first."""

    SLOWER = "slower"
    LOST = "no time any more"
    FASTER = "faster"
    GAINED = "no time before"
    UNSURE = "no interval"
    SAME = "no difference seen"
    UNTIMED = "not timed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """Pairs of other runtimes that ran the same program twice: their truth is 1, and ``strays`` is how far they are off.

    ``strays`` is a share that one more such pair exceeds with a chance of 5 % (of fewer than 19: 1 in ``count`` + 1):
    the order statistic of split conformal prediction (Lei et al. 2018, https://doi.org/10.1080/01621459.2017.1307116).
    """

    count: int = 0
    strays: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One cell on both sides; ``change`` is None where a side has no rounds.

    ``least`` is the smallest slow-down, as a share, that had an 80 % chance to be seen.
    """

    before: Cell
    after: Cell
    change: Change | None
    controls: Controls

    @property
    def value(self) -> float | None:
        """The time after over the time before."""
        if self.change is None:
            return None
        return self.change.after_s / self.change.before_s

    @property
    def verdict(self) -> Verdict:
        """Faster or slower only where the whole interval lies beyond what the controls stray."""
        if self.change is None:
            return {(True, False): Verdict.LOST, (False, True): Verdict.GAINED}.get(
                (self.before.timed, self.after.timed), Verdict.UNTIMED
            )
        ratio, beyond = self.change.ratio, 1 + self.controls.strays
        if ratio is None:
            return Verdict.UNSURE
        if ratio.low > beyond:
            return Verdict.SLOWER
        return Verdict.FASTER if ratio.high < 1 / beyond else Verdict.SAME

    @property
    def least(self) -> float | None:
        """The smallest slow-down that had an 80 % chance to be seen, as a share."""
        if self.change is None or self.change.least is None:
            return None
        return (1 + self.controls.strays) * (1 + self.change.least) - 1

    @property
    def drifted(self) -> float | None:
        """How much farther from the reference the outputs are, in mean cosine, of the output that changed most."""
        both = self.before.drift.keys() & self.after.drift.keys()
        return max((self.after.drift[name] - self.before.drift[name] for name in both), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every cell of two sides: in a pair, or among those that cannot be paired, with the reason."""

    before: str
    after: str
    pairs: tuple[Pair, ...]
    unpaired: Mapping[str, str]


def compare(before: Side, after: Side) -> Comparison:
    """Pair the cells of two sides by name where their calls are equal.

    Raises:
        UsageError: the sides share no name.
    """
    names = [*before.cells, *(name for name in after.cells if name not in before.cells)]
    if names and not before.cells.keys() & after.cells.keys():
        msg = f"{before.name} and {after.name} have no cell in common; compare runs of the same cells"
        raise UsageError(msg)
    reasons = {name: _apart(before.cells.get(name), after.cells.get(name)) for name in names}
    matched = [(before.cells[name], after.cells[name]) for name, why in reasons.items() if not why]
    changes = [_change(*each) for each in matched]
    controls = {name: _controls(name, matched, changes) for name in {one.backend for one, _ in matched}}
    return Comparison(
        before=before.name,
        after=after.name,
        pairs=tuple(
            Pair(before=one, after=two, change=found, controls=controls[one.backend])
            for (one, two), found in zip(matched, changes, strict=True)
        ),
        unpaired={name: why for name, why in reasons.items() if why},
    )


def control(before: Cell, after: Cell) -> bool:
    """Whether both sides ran the same program on the same machine: what differs belongs to other runtimes.

    The null target, whose microseconds are the harness's own, and benchmarks of others are none.
    """
    if before.backend in {"", platforms.NULL}:
        return False
    others = tuple(name for name in platforms.RUNTIMES if name != before.backend)
    names = {name for name in before.facts.keys() | after.facts.keys() if not name.startswith(others)}
    alike = {name for name in names if before.facts.get(name) == after.facts.get(name)}
    return not alike.isdisjoint(MADE) and names - alike <= {*MADE, "reference"}


def _apart(before: Cell | None, after: Cell | None) -> str:
    """Why two cells are no pair; empty where they are."""
    if before is None or after is None:
        return "only in B" if before is None else "only in A"
    names = [name for name in before.call if after.call and before.call[name] != after.call[name]]
    if names:
        return "; ".join(f"{name}: {_brief(before.call[name])} in A, {_brief(after.call[name])} in B" for name in names)
    if before.skipped or after.skipped or not (before.measured or after.measured):
        return "; ".join(f"{side}: {cell.ended or 'ok'}" for side, cell in (("A", before), ("B", after)))
    return ""


def _brief(value: str) -> str:
    """A hash by its first characters."""
    return value[:12] if len(value) == 64 and value.isalnum() else value  # noqa: PLR2004  SHA-256 in hex


def _change(before: Cell, after: Cell) -> Change | None:
    """What the rounds say; of a side without rounds, its median alone."""
    if not (before.timed and after.timed):
        return None
    return change(_times(before), _times(after), overlapping=before.overlapping)


def _times(cell: Cell) -> Sequence[float]:
    return cell.rounds_s or (cell.median_s or math.nan,)


def _controls(backend: str, matched: Sequence[tuple[Cell, Cell]], changes: Sequence[Change | None]) -> Controls:
    """How far the pairs of other runtimes than *backend* stray that ran the same program twice.

    Not its own: two builds of one version are told apart by nothing here, and would hide what they changed.
    """
    strays = sorted(
        abs(math.log(found.after_s / found.before_s))
        for (before, after), found in zip(matched, changes, strict=True)
        if found is not None and before.backend != backend and control(before, after)
    )
    if not strays:
        return Controls()
    place = min(math.ceil(CONFIDENCE * (len(strays) + 1)), len(strays))
    return Controls(count=len(strays), strays=math.expm1(strays[place - 1]))
