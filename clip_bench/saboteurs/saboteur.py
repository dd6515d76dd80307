"""What a saboteur is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from clip_bench.backends import Arrays, Session
from clip_bench.change import Change
from clip_bench.specs import Precision, Tower

BOTH = frozenset({Tower.IMAGE, Tower.TEXT})
IMAGES, TEXTS = frozenset({Tower.IMAGE}), frozenset({Tower.TEXT})


class Kind(StrEnum):
    """Where the pipeline is broken."""

    WEIGHT = "weight"
    NODE = "node"
    FEED = "feed"
    CALL = "call"


class Cells(Protocol):
    """The cell that is broken, and true ones beside it."""

    tower: Tower
    precision: Precision

    def open(self, tower: Tower, precision: Precision) -> tuple[Session, Sequence[Arrays]]:
        """A true cell: its session, which is closed with the broken one, and the calls of its evaluation."""


def alone(session: Session, cells: Cells) -> Session:  # noqa: ARG001  a saboteur of calls asks for more
    """*session* as it is."""
    return session


@dataclass(frozen=True, slots=True, kw_only=True)
class Saboteur:
    """One way in which pipelines break; *what* says which, and where that comes from.

    ``change`` is what it changes before a cell is loaded, ``session`` what it makes of one that is. ``batch`` is the
    number of samples of a call without which there is nothing to break.
    """

    name: str
    kind: Kind
    what: str
    towers: frozenset[Tower] = BOTH
    change: Change = field(default_factory=Change)
    session: Callable[[Session, Cells], Session] = alone
    batch: int = 1
