"""The journal of a run: a line for each thing that happens, on disk before the next one, read by a run that goes on.

Lines are JSON with a ``kind``:

* ``asked``      how the run was started, and under which limits; the last one holds
* ``planned``    its cells, and what must be the same where it goes on: machine, settings, commit
* ``begin``      a cell, or another step that may die, is under way
* ``note``       the record of that cell so far
* ``end``        how a cell ended: its entry, its row of pytest-benchmark, its reports
* ``died``       the process died under a cell, with which outcome and why; whoever reads it ends the cell so
* ``withdrawn``  a cell was interrupted, or killed by mistake: it is as if it had never begun
* ``machine``    what a machine of a fleet is, by its number
* ``returned``   a node of a fleet died under a cell, which waits for another one
* ``again``      everything died under a cell, the supervisor too: it gets one more try
* ``finished``   the run's file is written, and pytest's exit status

A line that a kill or a full disk tore is the last one, and is cut off. One process at a time writes: a lock (flock, which
dies with the processes that hold it) is on the file, and a child inherits it from its supervisor.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from clip_bench.errors import UsageError

SUFFIX = ".jsonl"
START = b'{"kind": "asked",'
TRIES = 2  # of a cell under which everything died: the first may have had bad luck, as with a power cut
AGAIN = "measured at the second try: everything, its supervisor too, ended under the first"
NEVER = "everything, its supervisor too, ended under this cell twice"
FAR = 1 << 40  # where Windows's lock lies: locked bytes can be neither read nor written there

Line = Mapping[str, Any]
Ending = Literal["crashed", "timed_out", "out_of_memory"]


@dataclass(slots=True)
class Story:
    """What the lines so far tell; ``flying`` is what began and has not ended, ``since_s`` (monotonic) its last line's time."""

    asked: Line | None = None
    planned: Line | None = None
    notes: dict[str, Line] = field(default_factory=dict)
    ended: dict[str, Line] = field(default_factory=dict)
    died: dict[str, Line] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)
    returned: Counter[str] = field(default_factory=Counter)
    machines: dict[str, Line] = field(default_factory=dict)
    flying: str = ""
    since_s: float = 0.0
    finished: int | None = None

    def tell(self, line: Line) -> None:
        """Go on by one line; a KeyError or TypeError says that it is none of a journal."""
        kind, case = line["kind"], line.get("case", "")
        self.since_s = line["at_s"]
        match kind:
            case "asked":
                self.asked = line
            case "planned":
                self.planned = line
            case "begin":
                self.flying = case
                self.begun[case] += 1
            case "note":
                self.notes[case] = line
            case "finished":
                self.finished = line["status"]
            case "machine":
                self.machines.setdefault(case, line)
            case "returned":
                self.returned[case] += 1
            case "end" | "died" | "withdrawn" | "again":
                self._land(kind, case, line)
            case _:
                raise KeyError(kind)

    def _land(self, kind: str, case: str, line: Line) -> None:
        """Nothing is under way any more, however it ended."""
        if kind == "withdrawn" and self.flying == case:
            self.begun[case] -= 1
        self.flying = ""
        self.died.pop(case, None)
        if kind == "end":
            self.ended[case] = line
            self.notes.pop(case, None)
        elif kind == "died":
            self.died[case] = line

    def machine_at(self, host: str) -> str:
        """The number of the machine of a fleet at *host*: its own, or the next one."""
        known = {line["host"]: number for number, line in self.machines.items()}
        return known.get(host, str(len(known) + 1))

    def again(self, case: str) -> bool:
        """Whether this is not the first try of *case*."""
        return self.begun[case] > 1


@dataclass(slots=True)
class Journal:
    """A journal that is open: ``offset`` is where its last whole line ends, in bytes."""

    path: Path
    descriptor: int
    offset: int = 0
    story: Story = field(default_factory=Story)

    @classmethod
    def opened(cls, path: Path, *, locked: bool) -> Journal:
        """Open or begin the journal at *path* and read it; *locked* where no supervisor of this process has the lock.

        Raises:
            UsageError: it cannot be opened, another process has it, or it is no journal.
        """
        new = not path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            journal = cls(path=path, descriptor=os.open(path, flags, 0o666))
            if new:
                _settled(path.parent)
        except OSError as exc:
            msg = f"{path}: no journal can be kept there ({exc.strerror}); give a folder that can be written"
            raise UsageError(msg) from exc
        try:
            if locked:
                _lock(path, journal.descriptor)
            journal.catch_up()
            if locked:
                journal.cut()
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def command(self) -> str:
        """What goes on with its run."""
        return f"clip-bench run --resume {self.path}"

    def close(self) -> None:
        """Let go of the file and of the lock."""
        os.close(self.descriptor)

    def remove(self) -> None:
        """Take the journal away: its run is written."""
        self.path.unlink(missing_ok=True)

    def catch_up(self) -> None:
        """Read what was written since.

        Raises:
            UsageError: a line that is not the last is none of a journal's.
        """
        os.lseek(self.descriptor, self.offset, os.SEEK_SET)
        parts = []
        while part := os.read(self.descriptor, 1 << 20):
            parts.append(part)
        data = b"".join(parts)
        if not self.offset and data[: len(START)] != START[: len(data)]:
            msg = f"{self.path}: no journal of a run; give one that clip-bench run left"
            raise UsageError(msg)
        lines = data.split(b"\n")[:-1]  # what follows the last newline is torn, or not yet written
        for number, text in enumerate(lines):
            try:
                self.story.tell(json.loads(text))
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                if number == len(lines) - 1:
                    return
                msg = f"{self.path}: its byte {self.offset} begins no line of a journal ({exc!r}); begin the run anew"
                raise UsageError(msg) from exc
            self.offset += len(text) + 1

    def cut(self) -> None:
        """Take a torn line away."""
        if os.fstat(self.descriptor).st_size > self.offset:
            os.ftruncate(self.descriptor, self.offset)

    def write(self, kind: str, case: str = "", *, durable: bool = True, **told: object) -> None:
        """Add a line; *durable* lines outlive the machine's power.

        Raises:
            UsageError: the disk is full or failing; what was there before is whole.
        """
        line = {"kind": kind, "case": case, "at_s": time.monotonic(), **told}
        data = json.dumps(line, default=str).encode() + b"\n"
        before = os.fstat(self.descriptor).st_size
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self.descriptor, left) :]
            if durable:
                os.fsync(self.descriptor)
        except OSError as exc:
            with suppress(OSError):
                os.ftruncate(self.descriptor, before)
            msg = f"{self.path}: {exc.strerror}; make room, then go on with: {self.command}"
            raise UsageError(msg) from exc
        self.offset += len(data)
        self.story.tell(json.loads(data))

    def died(self, ending: Ending, reason: str) -> None:
        """Tell how the process ended under what is under way."""
        self.write("died", self.story.flying, outcome=ending, reason=reason)

    def settle(self) -> str:
        """Decide of a cell under which everything died, with nobody to tell how; in a sentence, if there is one."""
        if not (case := self.story.flying):
            return ""
        if self.story.begun[case] >= TRIES:
            self.died("crashed", NEVER)
            return f"{case} is not tried again: {NEVER}"
        self.write("again", case)
        return f"{case} was under way when everything ended: it is tried once more"


def fresh(folder: Path) -> Path:
    """A journal's path in *folder* that is not taken, named by the time: its run has the same name."""
    name = f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    taken = (folder / f"{name}{f'_{number}' if number else ''}{SUFFIX}" for number in range(1000))
    return next(path for path in taken if not path.exists())


def newest(folders: list[Path]) -> Path | None:
    """The journal in *folders* that was written last."""
    found = [path for folder in folders for path in folder.glob(f"*{SUFFIX}") if _begins(path)]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _begins(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(START)) == START


def _settled(folder: Path) -> None:
    """Make the name of a new file as durable as its bytes; Windows does that by itself."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        msg = f"{path}: a run is at work on it; wait for its end, or end it, and try again"
        raise UsageError(msg) from exc
