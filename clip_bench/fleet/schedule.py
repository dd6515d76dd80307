"""Which node measures which cell: one at a time on a machine, each cell told once, given back once by a node that dies."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from clip_bench.errors import ClipBenchError
from clip_bench.fleet.cluster import GoneError, Node
from clip_bench.fleet.node import Task, Told
from clip_bench.journal import Journal

LOOK_S = 1.0  # between two looks at which nodes live
PATIENCE_S = 30.0  # for a node that offers what no living one does: it may be starting, or starting again
REST_S = 20.0  # for a node under which a cell ended so: a dead one is listed among the living for a while
GIVEN_BACK = 1  # times that a cell may be given back


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A planned cell and the target that a node must offer for it."""

    case: str
    target: str


class Nodes(Protocol):
    """What a cluster does for a schedule."""

    def nodes(self) -> Sequence[Node]:
        """Those that live."""

    def send(self, place: Node, task: Task) -> Hashable:
        """Begin there."""

    def ended(self, under_way: Sequence[Hashable], seconds: float) -> Sequence[Hashable]:
        """Wait for one."""

    def told(self, handle: Hashable) -> Told:
        """What came of it."""


@dataclass(slots=True, kw_only=True)
class Schedule:
    """The cells that wait, and those under way on a node; what ends is in *journal* before anything else is sent.

    A cell that a node measures is sent nowhere else until the node is known to have died. *task* makes what a node is told,
    *say* gets a line for the user.
    """

    cluster: Nodes
    journal: Journal
    task: Callable[[Cell], Task]
    say: Callable[[str], object]
    waiting: deque[Cell]
    clock: Callable[[], float] = time.monotonic
    under_way: dict[Hashable, tuple[Cell, Node]] = field(default_factory=dict)
    offered: set[str] = field(default_factory=set)  # targets, by any node so far
    resting: dict[str, float] = field(default_factory=dict)  # nodes, until when
    unoffered: dict[str, float] = field(default_factory=dict)  # targets, since when no living node offers them

    def run(self) -> None:
        """Until each cell has an end in the journal."""
        while self.waiting or self.under_way:
            nodes = self.cluster.nodes()
            self._send(nodes)
            self._give_up({target for each in nodes for target in each.offers})
            if self.under_way:
                for handle in self.cluster.ended(list(self.under_way), LOOK_S):
                    self._end(handle)
            elif self.waiting:
                time.sleep(LOOK_S)

    def _send(self, nodes: Sequence[Node]) -> None:
        """A cell to each machine that has none, the first that waits and is offered there."""
        busy = {place.host for _, place in self.under_way.values()}
        now = self.clock()
        for place in nodes:
            if place.host in busy or self.resting.get(place.id, now) > now:
                continue
            cell = next((each for each in self.waiting if each.target in place.offers), None)
            if cell is not None:
                self.waiting.remove(cell)
                busy.add(place.host)
                self.under_way[self.cluster.send(place, self.task(cell))] = cell, place

    def _end(self, handle: Hashable) -> None:
        cell, place = self.under_way.pop(handle)
        try:
            told = self.cluster.told(handle)
        except GoneError as exc:
            self.resting[place.id] = self.clock() + REST_S
            self._gone(cell, str(exc))
        except ClipBenchError as exc:
            self._died(cell, "failed", str(exc))
        else:
            number = self.journal.story.machine_at(place.host)
            self.journal.write("machine", number, host=place.host, facts=told.machine)
            ending = {key: value for key, value in told.line.items() if key not in {"kind", "case", "at_s"}}
            ending["entry"] = {**ending["entry"], "machine": number}
            self.journal.write("end", cell.case, **ending)
            self._tell(cell, ending["entry"]["outcome"], f"on {told.machine['name']}")

    def _gone(self, cell: Cell, how: str) -> None:
        if self.journal.story.returned[cell.case] >= GIVEN_BACK:
            self._died(cell, "lost", f"two nodes died under it: {how}")
            return
        self.journal.write("returned", cell.case)
        self.waiting.append(cell)
        self.say(f"{cell.case} was given back: its node died")

    def _give_up(self, offered: set[str]) -> None:
        """End the cells whose target no living node has offered for a while."""
        self.offered |= offered
        wanted = {cell.target for cell in self.waiting} - offered
        self.unoffered = {target: self.unoffered.get(target, self.clock()) for target in wanted}
        for cell in [*self.waiting]:
            since = self.unoffered.get(cell.target)
            if since is not None and self.clock() - since >= PATIENCE_S:
                self.waiting.remove(cell)
                if cell.target in self.offered or self.journal.story.returned[cell.case]:
                    self._died(cell, "lost", f"every node that offered {cell.target} has died")
                else:
                    how = f"ray start --address HOST:PORT --resources '{{\"{cell.target}\": 1}}'"
                    self._died(cell, "skipped", f"no node of the fleet offers {cell.target}: {how}")

    def _died(self, cell: Cell, outcome: str, reason: str) -> None:
        self.journal.write("died", cell.case, outcome=outcome, reason=reason)
        self._tell(cell, outcome, reason)

    def _tell(self, cell: Cell, outcome: str, more: str) -> None:
        story = self.journal.story
        done = len(story.ended) + len(story.died)
        self.say(f"[{done}/{done + len(self.waiting) + len(self.under_way)}] {cell.case}  {outcome}  {more}")
