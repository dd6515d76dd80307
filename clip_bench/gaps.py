"""Cells that are known not to work, as data: what they end with, why, and where that is told.

A known gap is strict. A cell that ends as its gap says does not fail a run; one that ends well, or in another way,
does, so that a gap goes when its cause goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from clip_bench.record import Outcome
from clip_bench.specs import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Cells whose ids match *cells* (``*`` and ``?``) end with *outcome*, and a reason in which *error* (a regex) is found.

    *reason* says why, in a sentence of ours; *link* where the cause is told or kept.
    """

    cells: str
    outcome: Outcome
    error: str
    reason: str
    link: str

    def expects(self, outcome: Outcome, reason: str) -> bool:
        """Whether a cell ended as this gap says."""
        return outcome is self.outcome and re.search(self.error, reason) is not None


KNOWN: tuple[Gap, ...] = ()


def covering(case: Case) -> Gap | None:
    """The known gap of *case*, if there is one."""
    return next((gap for gap in KNOWN if fnmatchcase(case.id, gap.cells)), None)
