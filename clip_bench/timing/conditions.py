"""What else the machine does while a cell is timed: what two snapshots, one before and one after, tell apart."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clip_bench.record import Conditions
from clip_bench.timing import nvml
from clip_bench.timing.nvml import Card

ROOT = Path("/")
IDLE = ("idle", "iowait")
BUSY = (
    "user",
    "nice",
    "system",
    "irq",
    "softirq",
)  # psutil's words; guests' time is in user, Windows's interrupts in system
LEAST_S = 0.1  # Linux counts processor time in ticks of 10 ms: of a shorter window they tell nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the system tells at one moment; None where it does not.

    ``busy_s``, ``idle_s`` and ``steal_s`` are processor seconds since boot, summed over the cores; ``own_s`` those of this
    process and of its children that ended. ``mhz`` is the lowest and the highest clock of a core, ``throttled`` counts
    since boot, ``switches`` since the process began.
    """

    at_s: float
    own_s: float
    busy_s: float
    idle_s: float
    steal_s: float | None = None
    load_1m: float | None = None
    mhz: tuple[float, float] | None = None
    throttled: int | None = None
    switches: int | None = None
    cards: tuple[Card, ...] = ()


def snapshot(*, gpus: Sequence[int] = (), root: Path = ROOT) -> Snapshot:
    """What the system tells now, and of the NVIDIA GPUs that CUDA calls *gpus*.

    It takes 0.02 ms on 2 cores without GPUs, after the first. In a container, the cores are the whole machine's.
    """
    import psutil

    times = psutil.cpu_times()
    return Snapshot(
        at_s=time.perf_counter(),
        own_s=_own_s(),
        busy_s=sum(getattr(times, name, 0.0) for name in BUSY),
        idle_s=sum(getattr(times, name, 0.0) for name in IDLE),
        steal_s=getattr(times, "steal", None),
        load_1m=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        mhz=mhz(root),
        throttled=_throttled(root),
        switches=_switches(),
        cards=nvml.cards(gpus) if gpus else (),
    )


def between(before: Snapshot, after: Snapshot) -> Conditions:
    """What happened from *before* to *after*.

    ``load_1m`` is the earlier one: the cell itself is in the later. ``others`` is off by up to 10 ms per core and end of
    the window, never negative, and with ``steal`` None where the window is shorter than 0.1 s.
    """
    window_s = after.at_s - before.at_s
    busy_s, own_s = after.busy_s - before.busy_s, after.own_s - before.own_s
    steal_s = _rise(before.steal_s, after.steal_s)
    whole_s = busy_s + (after.idle_s - before.idle_s) + (steal_s or 0.0)
    told = window_s >= LEAST_S and whole_s > 0
    clocks = [*(before.mhz or ()), *(after.mhz or ())]
    throttled, switches = _rise(before.throttled, after.throttled), _rise(before.switches, after.switches)
    return Conditions(
        window_s=window_s,
        load_1m=before.load_1m,
        steal=steal_s / whole_s if told and steal_s is not None else None,
        others=max(busy_s - own_s, 0.0) / window_s if told else None,
        mhz=(min(clocks), max(clocks)) if clocks else None,
        throttled=None if throttled is None else int(throttled),
        switches=None if switches is None else int(switches),
        device="; ".join(map(_in_words, before.cards, after.cards)),
    )


def mhz(root: Path = ROOT) -> tuple[float, float] | None:
    """The lowest and the highest clock of a core now, where Linux tells a clock that it measured.

    By ``cpufreq/scaling_cur_freq`` (in kHz), else by ``/proc/cpuinfo`` on processors with ``aperfmperf``: without it the
    "cpu MHz" there, as in a virtual machine, is the nominal clock whatever happens (arch/x86/kernel/cpu/proc.c). So is
    what macOS and Windows tell psutil.
    """
    found = [_number(path) for path in _clocks(root)]
    told = [khz / 1e3 for khz in found if khz is not None]
    if not told:
        told = _cpuinfo_mhz(root / "proc/cpuinfo")
    return (min(told), max(told)) if told else None


def _cpuinfo_mhz(path: Path) -> list[float]:
    if not _measured(path):
        return []
    lines = (line.partition(":") for line in path.read_text().splitlines() if line.startswith("cpu MHz"))
    return [float(text) for _, _, text in lines]


@cache
def _measured(path: Path) -> bool:
    """Whether the clocks in /proc/cpuinfo are counted by the processor."""
    try:
        return "aperfmperf" in path.read_text().split()
    except OSError:
        return False


@cache
def _clocks(root: Path) -> tuple[Path, ...]:
    """The file of each clock; the cores of a policy share one."""
    return tuple(sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq")))


@cache
def _throttles(root: Path) -> tuple[Path, ...]:
    """The counter of each core: hyper-threads of one core have the same."""
    counters: dict[str, Path] = {}
    for path in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")):
        siblings = path.parents[1] / "topology" / "core_cpus_list"
        counters.setdefault(siblings.read_text() if siblings.exists() else str(path), path)
    return tuple(counters.values())


def _throttled(root: Path) -> int | None:
    counts = [_number(path) for path in _throttles(root)]
    told = [int(count) for count in counts if count is not None]
    return sum(told) if told else None


def _number(path: Path) -> float | None:
    """The number in a file of the kernel's; None where it cannot be read, as of a core that is offline by now."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def _own_s() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _switches() -> int | None:
    """How often a thread of this process had to give up a core; psutil would count the first thread alone."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _rise(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(after - before, 0)


def _in_words(before: Card, after: Card) -> str:
    """What a GPU did from *before* to *after*, in one phrase; what it does not tell is left out."""
    words = [_range(before.mhz, after.mhz, "MHz"), _range(before.memory_mhz, after.memory_mhz, "MHz memory")]
    words.append(_range(before.celsius, after.celsius, "°C"))
    spent, held = dict(before.violations_s), dict.fromkeys((*(before.held or ()), *(after.held or ())))
    for name, total_s in after.violations_s:
        if (slowed_s := total_s - spent.get(name, total_s)) > 0:
            words.append(f"slowed for {name} during {slowed_s:.2f} s")
    words += [f"held down by {name}" for name in held]
    most = max((count for count in (before.others, after.others) if count is not None), default=None)
    words.append("" if most is None else f"{most} other process{'' if most == 1 else 'es'}")
    return f"{after.name}: {', '.join(filter(None, words)) or 'tells nothing'}"


def _range(before: Any, after: Any, unit: str) -> str:  # noqa: ANN401  two numbers, or None
    told = sorted({value for value in (before, after) if value is not None})
    return f"{' to '.join(map(str, told))} {unit}" if told else ""
