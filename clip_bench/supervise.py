"""A run whose process may die: a supervisor that sleeps, ends the cell in flight in the journal, and starts pytest again."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from clip_bench.errors import ClipBenchError
from clip_bench.journal import Ending, Journal

SUPERVISOR = "CLIP_BENCH_SUPERVISOR"  # tells a child the process id of its supervisor
GRACE_S = 30.0  # for an end in order after an interruption, which Python may lose (an import, a callback)
IDLE_S = 300.0  # the least time for what is no cell: a start, ceilings, the file and its tables
DEATHS = 2  # in a row with no cell under way: then pytest itself cannot run
FULL = 0.8  # of the memory limit: who dies above it has met it
PYTESTS_OWN = range(6)  # pytest.ExitCode
GIB = 2**30
STOPPED = (2, 3, 4)  # interrupted, an internal error, a bad option: pytest has said what
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has but the second, which is as hard there
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a cell may take: seconds from its set-up to its end, and bytes of the whole process; None for no limit."""

    cell_timeout_s: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended: its status, negative for a signal; what it held at most; what was under way when it was stopped.

    ``killed`` says that the kernel's OOM killer struck somewhere meanwhile, ``interrupted`` that the user did.
    """

    status: int
    peak_bytes: int | None = None
    overdue: str | None = None
    killed: bool = False
    interrupted: bool = False

    @property
    def how(self) -> str:
        """In words."""
        if self.status >= 0:
            return f"exit status {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"
        return f"{name} ({signal.strsignal(-self.status)})"


def follow() -> bool:
    """Whether this process has a supervisor; if so, it ends when that one does (on Linux, at once).

    The variable is taken away, so that a run inside this one is on its own.
    """
    if (told := os.environ.pop(SUPERVISOR, "")) == "":
        return False
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(told):  # it ended before that call
            os.kill(os.getpid(), signal.SIGKILL)
    return True


def ask(
    journal: Journal,
    arguments: Sequence[str],
    folder: Path,
    limits: Limits,
    *,
    python: str = sys.executable,
    ray: str | None = None,
) -> None:
    """Tell *journal* what pytest is to do: its arguments, where, with which *python*, and what a cell may take.

    *ray* is the address of the fleet that measures the cells, if one does.
    """
    journal.write(
        "asked",
        arguments=[*arguments],
        folder=str(folder),
        python=python,
        ray=ray,
        cell_timeout_s=limits.cell_timeout_s,
        memory_bytes=limits.memory_bytes,
    )


def plan(journal: Journal) -> int:
    """Have pytest tell *journal* which cells it would measure; its exit status, 0 where there are some."""
    ended = _child(journal, Limits(), ("--collect-only", "--quiet"))
    journal.catch_up()
    journal.cut()
    return ended.status


def supervise(journal: Journal, limits: Limits, say: Callable[[str], object], output: int | None = None) -> int:
    """Run pytest as the journal tells until its file is written; the exit status. The lock on *journal* is held.

    What pytest says goes to the descriptor *output*, or to where this process says what it does.

    Raises:
        ClipBenchError: pytest died twice in a row with no cell under way.
    """
    deaths = 0
    while True:
        ended = _child(journal, limits, output=output)
        journal.catch_up()
        journal.cut()
        story = journal.story
        if story.finished is not None:
            if ended.status != story.finished:
                say(f"pytest ended with {ended.how} after the run was written")
            journal.remove()
            return story.finished
        if ended.interrupted:
            return _stopped(journal, 2, say)
        if story.flying:
            deaths = 0
            say(_blame(journal, ended, limits))
        elif ended.status in STOPPED or (story.planned is None and ended.status in PYTESTS_OWN):
            return _stopped(journal, ended.status, say)
        else:
            deaths += 1
            how = "no sign of life" if ended.overdue is not None else ended.how
            if deaths == DEATHS:
                msg = f"pytest died twice with no cell under way ({how}): see above; {_kept(journal)}"
                raise ClipBenchError(msg)
            say(f"pytest died with no cell under way ({how}); it starts again")


def _stopped(journal: Journal, status: int, say: Callable[[str], object]) -> int:
    """Leave a run that pytest itself gave up, or never began."""
    if journal.story.planned is None:
        journal.remove()
    else:
        say(_kept(journal))
    return status


def _kept(journal: Journal) -> str:
    return f"what ended is kept, and goes on with: {journal.command}"


def _blame(journal: Journal, ended: Ended, limits: Limits) -> str:
    """Tell the journal how what is under way ended, and in a sentence."""
    case = journal.story.flying
    if ended.overdue is not None and ended.overdue != case:
        journal.write("withdrawn", case)
        return f"{case} had just begun when its predecessor was stopped: it begins anew"
    ending, reason = _ending(ended, limits)
    journal.died(ending, reason)
    return f"{case}: {ending.replace('_', ' ')}: {reason}; pytest starts again"


def _ending(ended: Ended, limits: Limits) -> tuple[Ending, str]:
    """The outcome of a cell under which its process ended so, and why."""
    if ended.overdue is not None:
        return "timed_out", f"no end after {limits.cell_timeout_s:g} s (--cell-timeout)"
    if ended.status == -KILL and ended.killed:
        return "out_of_memory", "the kernel killed the process for want of memory"
    limit, peak = limits.memory_bytes, ended.peak_bytes
    if limit is None or peak is None:
        return "crashed", ended.how
    held = f"it held {peak / GIB:.2f} of {limit / GIB:.2f} GiB (--memory-limit)"
    if peak >= FULL * limit:
        return "out_of_memory", f"{ended.how}; {held}"
    return "crashed", f"{ended.how}; {held}"


def _child(journal: Journal, limits: Limits, more: Sequence[str] = (), output: int | None = None) -> Ended:
    """Start pytest in a process group of its own, sleep until it ends or is overdue, and end what it left behind."""
    asked, kills = journal.story.asked or {}, _oom_kills()
    posix = os.name == "posix"
    process = subprocess.Popen(  # noqa: S603  ourselves, with what the user asked for
        [
            *(asked.get("python", sys.executable), "-P", "-m", "pytest", *asked["arguments"]),
            *("--journal", str(journal.path.absolute()), *more),
        ],
        cwd=asked["folder"],
        env={**os.environ, SUPERVISOR: str(os.getpid())},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        process_group=0 if posix else None,
        pass_fds=(journal.descriptor,) if posix else (),  # the lock, while any of us lives
    )
    if limits.memory_bytes is not None:
        import resource

        resource.prlimit(process.pid, resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    try:
        ended = _wait(process, journal, limits)
    finally:
        _signal(process, KILL)
    return replace(ended, killed=_oom_kills() > kills)


def _wait(process: subprocess.Popen[bytes], journal: Journal, limits: Limits) -> Ended:
    """Sleep until *process* ended; wake when a limit has passed since the last look, and at the user's interruption.

    What began meanwhile has its full time from then on: a look in each *cell_timeout_s* finds a hang to the moment.
    A thread waits for the end: Popen.wait with a timeout would look twenty times a second.
    """
    ends: queue.SimpleQueue[tuple[int, int | None]] = queue.SimpleQueue()
    threading.Thread(target=lambda: ends.put(_reaped(process)), daemon=True).start()
    journal.story.since_s = time.monotonic()
    overdue, interrupted = None, False
    while True:
        try:
            left = None if overdue is not None else _left_s(journal, limits)
            look = None if left is None else min(left, limits.cell_timeout_s or left)
            status, peak = ends.get(timeout=GRACE_S if interrupted else look)
        except queue.Empty:
            journal.catch_up()
            if interrupted:
                _signal(process, KILL)
            elif _left_s(journal, limits) == 0:
                overdue = journal.story.flying
                _signal(process, KILL)
        except KeyboardInterrupt:
            _signal(process, KILL if interrupted else signal.SIGINT)
            interrupted = True
        else:
            return Ended(status=status, peak_bytes=peak, overdue=overdue, interrupted=interrupted)


def _left_s(journal: Journal, limits: Limits) -> float | None:
    """Seconds until what is under way is overdue, by what was read of the journal; None without a limit."""
    story, limit = journal.story, limits.cell_timeout_s
    if limit is None:
        return None
    cells = () if story.planned is None else story.planned["cells"]
    allowed = limit if story.flying in cells else max(limit, IDLE_S)
    return max(0.0, story.since_s + allowed - time.monotonic())


def _reaped(process: subprocess.Popen[bytes]) -> tuple[int, int | None]:
    """The status of *process* once it ended, and the bytes that it held at most, where the system tells."""
    if not hasattr(os, "wait4"):
        return process.wait(), None
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to all of the process group; on Windows, to the process alone."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):  # all of it ended; macOS may say the second
            os.killpg(process.pid, number)
    elif process.poll() is None:
        process.terminate()


def _oom_kills(path: Path = Path("/proc/vmstat")) -> int:
    """How often the kernel's OOM killer struck since boot; 0 where nothing tells."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
