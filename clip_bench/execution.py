"""Where a cell runs, by the runtime's own evidence, and whether it answers as it did: from the first call to the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from numpy.typing import NDArray

from clip_bench.backends import Arrays, Placement, Session
from clip_bench.errors import PlacementError
from clip_bench.quality import gates, metrics
from clip_bench.quality.gates import Failure, Gate
from clip_bench.record import Executed
from clip_bench.specs import Case, Pattern


def placed(session: Session, case: Case) -> Placement:
    """Where *session* runs by now.

    Raises:
        PlacementError: elsewhere than asked, or in a narrower type.
    """
    where = session.placement()
    if fault := where.fault(case.precision):
        raise PlacementError(fault)
    return where


def evidence(where: Placement) -> Executed:
    """What the runtime tells, as a record has it."""
    return Executed(
        nodes=dict(where.nodes),
        dtypes=dict(where.dtypes),
        note=where.note,
        asked=where.asked,
        first_call_s={place: dict(seconds) for place, seconds in where.first_call_s.items()},
        flags=dict(where.flags),
    )


def still(case: Case, sessions: Sequence[Session], call: Arrays, before: Executed | None) -> Executed:
    """Where the first of *sessions* runs by now, if that is where it ran *before*, in its first call, which was *call*.

    A runtime whose outputs vary from call to call tells nothing by them; one that repeats itself, but not its first
    output, runs on another device, or other kernels, than at first.

    Raises:
        PlacementError: the work is done elsewhere than asked, or was.
    """
    now, *_ = [evidence(placed(each, case)) for each in sessions]
    again, last = (digest(sessions[0].run(call)) for _ in range(2))
    before = before or now
    if before.first_output and again == last != before.first_output:
        msg = "one input gave another output in the first call than it gives now: another device, or other kernels"
        raise PlacementError(Failure(msg, Gate.REPEATED))
    note = "; ".join(filter(None, (now.note, "outputs vary from call to call" if again != last else "")))
    told = replace(before, nodes=now.nodes, dtypes=now.dtypes, first_call_s=now.first_call_s, asked=now.asked)
    return replace(told, note=note, last_output=last)


def changed(
    case: Case, session: Session, asked: Sequence[Arrays], answered: Sequence[Arrays | None]
) -> tuple[Failure, ...]:
    """How what was *answered* to *asked* under the load, or before the timed calls, differs from what one request is now."""
    floor = gates.FLOORS[case.precision].minimum
    alone = case.variant.load.pattern is Pattern.LATENCY
    worst: dict[str, float] = {}
    for call, then in zip(asked, answered, strict=False):
        if then is not None:
            for name, rows in session.run(call).items():
                worst[name] = min(worst.get(name, 1.0), _cosine(then[name], rows))
    when = "after the timed calls a sample has" if alone else "under this load a sample has"
    what = "its own answer before them" if alone else "its own answer alone"
    return tuple(
        Failure(f"{name}: {when} a cosine of {cosine:.4f} with {what}, under {floor}", Gate.REPEATED)
        for name, cosine in worst.items()
        if cosine < floor
    )


def _cosine(loaded: NDArray[Any], alone: NDArray[Any]) -> float:
    """The least cosine of a row with the same row; 0 where the arrays are unlike."""
    return float(metrics.cosine(loaded, alone).min()) if metrics.comparable(loaded, alone) else 0.0


def digest(*several: Arrays) -> str:
    """A short hash of names, types and bits."""
    found = sha256()
    for arrays in several:
        for name, rows in sorted(arrays.items()):
            found.update(f"{name} {rows.dtype} {rows.shape}".encode())
            found.update(rows.tobytes())
    return found.hexdigest()[:16]
