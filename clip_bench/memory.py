"""How far this process's resident memory rose at its highest, and in each step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the way to a steady call: its seconds, and how far the resident set rose, where that is told."""

    name: str
    seconds: float
    peak_bytes: int | None


@dataclass(slots=True, kw_only=True)
class Watch:
    """The growth of the resident set over several steps: of each, and over all of them.

    ``base`` is the level at the start, ``highest`` how far above it the set rose at its highest since, both in bytes;
    ``level`` is that at the start of the present step. None where the system does not tell.
    """

    base: int | None
    level: int | None
    highest: int | None

    @classmethod
    def start(cls) -> Watch:
        """Begin the first step."""
        level = reset()
        return cls(base=level, level=level, highest=None)

    def lap(self) -> int | None:
        """End a step and begin the next: how far the set rose in it above its level at its start, in bytes."""
        growth = growth_bytes(self.level)
        if growth is not None and self.base is not None and self.level is not None:
            self.highest = max(self.highest or 0, self.level - self.base + growth)
        self.level = reset()
        return growth


def reset() -> int | None:
    """Forget the peak so far: it restarts at the present level, whose bytes are returned.

    None where the system cannot do it: macOS and Windows keep one peak for the whole life of a process, which says
    nothing of one cell, and some containers and sandboxes hide the file. Source: proc(5), ``clear_refs``, value 5.
    There is one peak per process, so a reset ends any measurement under way.
    """
    try:
        (PROC / "clear_refs").write_text("5")
    except OSError:
        return None
    return _peak_bytes()


def growth_bytes(level: int | None) -> int | None:
    """How far the resident set has risen above *level* (from :func:`reset`) at its highest since, in bytes.

    It includes what the runtime and the caller touched in this process: weights (also when mapped from a file),
    activations, the runtime's libraries and threads, inputs and results. It does not include a device's own
    memory, other processes, or pages swapped out. Memory that an earlier cell freed and the allocator kept is
    reused without growth, so a cell that shares its process may show less than it needs. The kernel counts in
    batches: expect an error of some hundred KiB (proc(5), ``VmRSS``).

    None if *level* is None, or if somebody else reset the peak since and it has not reached *level* again.
    """
    peak = _peak_bytes()
    return None if level is None or peak is None or peak < level else peak - level


def _peak_bytes() -> int | None:
    """``VmHWM``, the highest resident set since the last reset; None where the system does not tell."""
    try:
        status = (PROC / "status").read_text()
    except OSError:
        return None
    kib = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return None if kib is None else int(kib) * 1024
