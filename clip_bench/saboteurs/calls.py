"""What happens between calls: rows in another place, answers of another call, another device than the first time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays, Placement, Session
from clip_bench.change import Change
from clip_bench.saboteurs.saboteur import IMAGES, Cells, Kind, Saboteur
from clip_bench.specs import Precision, Tower

BATCH = 8
PACE = 50  # calls, after each of which a little more is lost
WORD = 320  # "a"

Outputs = Mapping[str, NDArray[np.generic]]


def _each(change: Callable[[NDArray[np.generic]], NDArray[np.generic]]) -> Change:
    """A change of the rows of each array of each call."""

    def changed(calls: Sequence[Arrays]) -> Sequence[Arrays]:
        return [{name: np.ascontiguousarray(change(rows)) for name, rows in call.items()} for call in calls]

    return Change(calls=changed)


def one_nan(calls: Sequence[Arrays]) -> Sequence[Arrays]:
    """One picture holds a NaN."""
    last = {name: rows.copy() for name, rows in calls[-1].items()}
    for rows in last.values():
        rows[0, 0, 0, 0] = np.nan
    return [*calls[:-1], last]


@dataclass(slots=True, kw_only=True)
class Other:
    """A session of which *answer* gives what a call gets: by its number, from 0, and what it is fed."""

    session: Session
    answer: Callable[[int, Arrays], Outputs]
    count: int = 0

    def run(self, feeds: Arrays) -> Outputs:
        """What *answer* makes of it."""
        self.count += 1
        return self.answer(self.count - 1, feeds)

    def placement(self) -> Placement:
        """As of the session it stands for."""
        return self.session.placement()

    def close(self) -> None:
        """Close the session."""
        self.session.close()


def previous(session: Session, cells: Cells) -> Session:  # noqa: ARG001
    """Each call gets what the one before it should have got, as from a buffer that is read too early."""
    held: list[Outputs] = []

    def answer(count: int, feeds: Arrays) -> Outputs:  # noqa: ARG001
        held.append(session.run(feeds))
        return held.pop(0) if len(held) > 1 else held[0]

    return Other(session=session, answer=answer)


def cached(session: Session, cells: Cells) -> Session:  # noqa: ARG001
    """Every call gets what the first one got."""
    held: list[Outputs] = []

    def answer(count: int, feeds: Arrays) -> Outputs:
        if not count:
            held.append(session.run(feeds))
        return held[0]

    return Other(session=session, answer=answer)


def swapped(session: Session, cells: Cells) -> Session:
    """The other tower answers: its embeddings are as wide, so that nothing complains."""
    tower = Tower.TEXT if cells.tower is Tower.IMAGE else Tower.IMAGE
    other, calls = cells.open(tower, cells.precision)

    def answer(count: int, feeds: Arrays) -> Outputs:  # noqa: ARG001
        rows = other.run(calls[count % len(calls)])[f"{tower}_embedding"]
        return {f"{cells.tower}_embedding": rows}

    return Other(session=session, answer=answer)


def moved(session: Session, cells: Cells) -> Session:
    """After its first call the work is done elsewhere, in another type, and the placement does not say so."""
    other, _ = cells.open(cells.tower, Precision.BF16 if cells.precision is Precision.FP32 else Precision.FP32)

    def answer(count: int, feeds: Arrays) -> Outputs:
        return other.run(feeds) if count else session.run(feeds)

    return Other(session=session, answer=answer)


def worn(session: Session, cells: Cells) -> Session:  # noqa: ARG001
    """With every :data:`PACE` calls a little more of what it is fed is lost: a column of pixels, or a word."""

    def lost(name: str, rows: NDArray[Any], much: int) -> NDArray[Any]:
        rows = rows.copy()
        if name == "image":
            rows[..., :much] = 0
        else:
            words = rows[:, 1 : 1 + much]
            words[(words > 0) & (words < rows.max(axis=1, keepdims=True))] = WORD
        return rows

    def answer(count: int, feeds: Arrays) -> Outputs:
        much = count // PACE
        return session.run({name: lost(name, rows, much) for name, rows in feeds.items()} if much else feeds)

    return Other(session=session, answer=answer)


ALL = (
    Saboteur(
        name="one_nan_row",
        kind=Kind.CALL,
        what="one picture of the set holds a NaN: one row of the answers is none",
        towers=IMAGES,
        change=Change(calls=one_nan),
    ),
    Saboteur(
        name="rows_permuted",
        kind=Kind.CALL,
        what="the rows of a batch come back in another order than they were sent",
        change=_each(lambda rows: rows[::-1]),
        batch=BATCH,
    ),
    Saboteur(
        name="first_for_all",
        kind=Kind.CALL,
        what="batch 1 is fed for batch n: every row of a call is its first",
        change=_each(lambda rows: np.repeat(rows[:1], len(rows), axis=0)),
        batch=BATCH,
    ),
    Saboteur(
        name="previous_output",
        kind=Kind.CALL,
        what="each call gets the answer of the one before, from a buffer that is read too early",
        session=previous,
    ),
    Saboteur(
        name="cached_output", kind=Kind.CALL, what="the first answer is kept, and given to every call", session=cached
    ),
    Saboteur(name="towers_swapped", kind=Kind.CALL, what="the other tower answers; both are as wide", session=swapped),
    Saboteur(
        name="moved",
        kind=Kind.CALL,
        what="another device, in another type, answers from the second call on, and the placement does not tell",
        session=moved,
    ),
    Saboteur(
        name="worn",
        kind=Kind.CALL,
        what=f"drift grows with the calls: after each {PACE} a little more of what is fed is lost",
        session=worn,
    ),
)
