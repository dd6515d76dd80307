"""Where a cell is, shown at the terminal while a test runner captures the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from clip_bench.progress import Pace, line
from clip_bench.specs import Case

STEPS = "clip_bench.steps"  # the logger that hears when a step of the pipeline begins


class Terminal(Protocol):
    """What is used of pytest's terminal reporter."""

    isatty: bool

    def ensure_newline(self) -> None:
        """Begin a line, unless one has just begun."""

    def write_line(self, line: str) -> None:
        """Write a whole line."""

    def rewrite(self, line: str, *, erase: bool = ...) -> None:
        """Go back to the begin of the line, and write; with *erase* blanks where it was longer."""

    def flush(self) -> None:
        """Show what is written."""


class Live(logging.Handler):
    """On a *terminal* one line, rewritten; elsewhere a line for each step that takes long; without a terminal nothing.

    It is written when a step begins, so never while the clock runs. *alone* tells that nobody else writes to the terminal,
    *columns* how wide it is now, and *uncaptured* lets through what is written inside it.
    """

    def __init__(
        self,
        terminal: Terminal | None,
        *,
        alone: bool,
        columns: Callable[[], int],
        uncaptured: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__(logging.DEBUG)
        self.terminal, self.columns, self.uncaptured = terminal, columns, uncaptured
        self.live = alone and terminal is not None and bool(terminal.isatty)
        self.pace = Pace()
        self.waiting: Sequence[Case] = ()
        self.total = 0
        self.began = 0.0
        self.step, self.shown = "", False

    def begin(self, waiting: Sequence[Case], total: int) -> None:
        """Show that the set-up of the first of *waiting* begins, of *total* cells."""
        self.waiting, self.total = waiting, total
        self.began, self.step = time.perf_counter(), "starting"
        self._rewrite(self.step)

    def emit(self, record: logging.LogRecord) -> None:
        """A word when a step begins, and one line per artifact that is made."""
        told = record.getMessage()
        if record.name == STEPS:
            self.step = told
            self._rewrite(told)
        elif self.live:
            self._rewrite(f"{self.step}, {told}")
        elif self.terminal is not None:
            with self.uncaptured():
                self.terminal.ensure_newline()
                self.terminal.write_line(f"  {self.waiting[0].id}: {told} ...")

    def erase(self) -> None:
        """Take the line back, for what comes in its place."""
        if self.shown and self.terminal is not None:
            self.shown = False
            self.terminal.rewrite("", erase=True)
            self.terminal.rewrite("")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what takes long, and where the line is live, every step; no test's captured log holds these."""
        made, steps = logging.getLogger("clip_bench"), logging.getLogger(STEPS)
        made.addHandler(self)
        if self.live:
            steps.addHandler(self)
            steps.setLevel(logging.DEBUG)
            steps.propagate = False
        try:
            yield
        finally:
            made.removeHandler(self)
            steps.removeHandler(self)
            steps.setLevel(logging.NOTSET)
            steps.propagate = True

    def _rewrite(self, step: str) -> None:
        if not self.live or self.terminal is None:
            return
        place = f"[{self.total - len(self.waiting) + 1}/{self.total}]"
        left = self.pace.left(self.waiting, time.perf_counter() - self.began)
        with self.uncaptured():
            self.terminal.ensure_newline()
            self.terminal.rewrite(line(place, self.waiting[0].id, step, left, self.columns()), erase=True)
            self.terminal.flush()
        self.shown = True
