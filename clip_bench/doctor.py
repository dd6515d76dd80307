"""What stands in the way of believable times on this machine, now, and what to do about it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import numpy as np

from clip_bench import machine
from clip_bench.record import Conditions
from clip_bench.timing import conditions, nvml
from clip_bench.timing.nvml import Card

ROOT = Path("/")
SYSTEM = Path("sys/devices/system/cpu")
WINDOW_S = 2.0
KERNEL_S = 1e-3
RUNS = 200  # at least, of the kernel
OTHERS = 0.1  # cores' worth that others may take: what a quiet desktop does
LOAD = 0.5  # as machine.facts has it
STEAL = 0.01
SPREAD = 0.1  # of the kernel's P90 over its P10
SLOW = 0.6  # of the highest clock, under load
STEP_S = 1e-6  # a thousandth of the shortest cells


class Level(StrEnum):
    """Whether it stands in the way."""

    OK = "ok"
    WARN = "warn"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One thing that was looked at: what was seen, and what to do about it."""

    level: Level
    about: str
    seen: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.level:<7}  {self.about}: {self.seen}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What this machine showed over a window in which one core ran the kernel; None where it does not tell.

    ``rounds_s`` are the kernel's runs, ``step_s`` the least that the clock advances, ``top_mhz`` the highest clock there
    is. ``quota`` is in cores, infinite without a limit. ``untold`` says why a GPU that is here tells nothing.
    """

    conditions: Conditions
    cores: int
    logical: int
    rounds_s: tuple[float, ...]
    step_s: float
    power: str
    virtual: bool = False
    governors: tuple[str, ...] = ()
    top_mhz: float | None = None
    boost: bool | None = None
    quota: float | None = None
    cards: tuple[Card, ...] = ()
    untold: str = ""


def look(seconds: float = WINDOW_S, root: Path = ROOT) -> Seen:
    """Watch this machine for *seconds* while one core works, and read its settings under *root*."""
    import psutil

    run = _kernel()
    before = conditions.snapshot(root=root)
    rounds_s: list[float] = []
    while len(rounds_s) < RUNS or time.perf_counter() - before.at_s < seconds:
        began = time.perf_counter()
        run()
        rounds_s.append(time.perf_counter() - began)
    after = conditions.snapshot(root=root)
    cpus = root / SYSTEM
    top = [int(text) / 1e3 for text in _texts(cpus, "cpufreq/policy*/cpuinfo_max_freq")]
    nvidia = any((root / "proc/driver/nvidia/gpus").glob("*"))
    return Seen(
        conditions=conditions.between(before, after),
        cores=machine.cores(cpus),
        logical=psutil.cpu_count() or 1,
        rounds_s=tuple(rounds_s),
        step_s=_step_s(),
        power=machine.power(),
        virtual=any("hypervisor" in text.split() for text in _texts(root, "proc/cpuinfo")),
        governors=machine.governors(cpus),
        top_mhz=max(top, default=None),
        boost=_boosts(cpus),
        quota=machine.quota(root),
        cards=nvml.cards(),
        untold=nvml.missing() if nvidia else "",
    )


def _kernel() -> Callable[[], None]:
    """A fixed piece of work of about 1 ms for one core, within its own cache."""
    values = np.linspace(0.0, 1.0, 2**15)
    result = np.empty_like(values)
    took = []
    for _ in range(20):
        began = time.perf_counter()
        np.exp(values, out=result)
        took.append(time.perf_counter() - began)
    times = range(max(1, round(KERNEL_S / min(took))))

    def run() -> None:
        for _ in times:
            np.exp(values, out=result)

    return run


def _step_s() -> float:
    """The least that ``time.perf_counter`` advances, as it tells and as it is seen."""
    seen = [time.perf_counter() for _ in range(1000)]
    steps = [late - early for early, late in pairwise(seen) if late > early]
    return max(min(steps, default=math.inf), time.get_clock_info("perf_counter").resolution)


def _texts(folder: Path, pattern: str) -> list[str]:
    found = []
    for path in sorted(folder.glob(pattern)):
        try:
            found.append(path.read_text().strip())
        except OSError:
            continue
    return found


def _boosts(cpus: Path) -> bool | None:
    """Whether a core may exceed its nominal clock: intel_pstate's switch says no, that of others says yes."""
    off, on = _texts(cpus, "intel_pstate/no_turbo"), _texts(cpus, "cpufreq/boost")
    if off:
        return off == ["0"]
    return on == ["1"] if on else None


def signs(seen: Seen) -> tuple[Sign, ...]:
    """A sign for each thing that was looked at, in the order in which to mend them."""
    checks = (_others, _load, _steal, _quota, _spread, _governor, _clock, _boost, _heat, _power, _threads, _timer)
    return (*(check(seen) for check in checks), *_gpus(seen))


def _sign(about: str, seen: str, advice: str = "", unknown: str = "", *, wrong: bool | None) -> Sign:
    """A warning with its *advice* where something is *wrong*; None: nobody tells, and *unknown* says why."""
    if wrong is None:
        return Sign(level=Level.UNKNOWN, about=about, seen=unknown)
    if wrong:
        return Sign(level=Level.WARN, about=about, seen=f"{seen}: {advice}")
    return Sign(level=Level.OK, about=about, seen=seen)


def _others(seen: Seen) -> Sign:
    others = seen.conditions.others
    return _sign(
        "other processes",
        f"others take {others or 0.0:.1f} of {seen.logical} cores",
        "stop them, or trust paired ratios alone",
        "the window is too short to tell: --seconds 2",
        wrong=None if others is None else others > OTHERS,
    )


def _load(seen: Seen) -> Sign:
    load = seen.conditions.load_1m
    return _sign(
        "load",
        f"{load or 0.0:.2f} processes wanted a core, on average over the last minute",
        "wait until what ran has ended",
        "this system has no load average",
        wrong=None if load is None else load > LOAD,
    )


def _steal(seen: Seen) -> Sign:
    steal = seen.conditions.steal
    return _sign(
        "steal",
        f"the host of this machine took {steal or 0.0:.1%} of its processor time",
        "take a host of its own, or trust paired ratios alone",
        "this system does not tell what a host takes",
        wrong=None if steal is None else steal > STEAL,
    )


def _quota(seen: Seen) -> Sign:
    quota = math.inf if seen.quota is None else seen.quota
    threads = max(1, int(min(quota, seen.logical)))
    return _sign(
        "container quota",
        f"{quota:g} of {seen.logical} cores' time" if math.isfinite(quota) else "no limit",
        f"calls will stall; lift it, or --threads {threads}",
        "no control group is told",
        wrong=None if seen.quota is None else quota < seen.logical,
    )


def _spread(seen: Seen) -> Sign:
    low, mid, high = np.percentile(seen.rounds_s, (10, 50, 90))
    return _sign(
        "a fixed kernel",
        f"{len(seen.rounds_s)} runs: median {mid * 1e3:.2f} ms, P90 {high / low - 1:.0%} above P10, "
        f"the longest {max(seen.rounds_s) / mid:.1f} times the median",
        "times will swing as much; mend what is warned of below and above, or trust paired ratios alone",
        wrong=bool(high > (1 + SPREAD) * low),
    )


def _governor(seen: Seen) -> Sign:
    named = ", ".join(seen.governors)
    return _sign(
        "governor",
        named,
        "clocks follow the load; sudo cpupower frequency-set -g performance",
        "not told: a virtual machine, or no Linux; on Windows choose the power plan for best performance",
        wrong=seen.governors != ("performance",) if seen.governors else None,
    )


def _clock(seen: Seen) -> Sign:
    clocks, top = seen.conditions.mhz, seen.top_mhz
    low, high = clocks or (0.0, 0.0)
    return _sign(
        "clock",
        f"{low:.0f} to {high:.0f} MHz" + (f" of at most {top:.0f}" if top else ""),
        "no core gets up to its clock under load; look for a power limit, a battery saver or heat",
        "this system does not tell a clock that it measured",
        wrong=None if clocks is None else top is not None and high < SLOW * top,
    )


def _boost(seen: Seen) -> Sign:
    return _sign(
        "boost",
        "on" if seen.boost else "off",
        "clocks fall as cores get warm; let it run warm before you compare, or switch boost off for steadier times",
        "not told",
        wrong=seen.boost,
    )


def _heat(seen: Seen) -> Sign:
    throttled = seen.conditions.throttled
    return _sign(
        "heat",
        f"cores were slowed {throttled or 0} times",
        "let it cool, and see to its fans",
        "this system does not count how often a core is slowed",
        wrong=None if throttled is None else throttled > 0,
    )


def _power(seen: Seen) -> Sign:
    return _sign(
        "power",
        seen.power,
        "plug it in: clocks are lower and vary",
        "no battery is told",
        wrong=None if seen.power == "unknown" else seen.power == "battery",
    )


def _threads(seen: Seen) -> Sign:
    """Hyper-threads are harmless where nobody else is: the suite takes one thread per core."""
    others = seen.conditions.others or 0.0
    if seen.virtual and seen.cores == seen.logical:
        return _sign("hyper-threads", "", "", "a virtual machine: two of its cores may be one of the host", wrong=None)
    shared = seen.cores < seen.logical
    return _sign(
        "hyper-threads",
        f"{seen.logical} threads on {seen.cores} cores" if shared else "none",
        "what others do on a core's second thread slows the first; stop them",
        wrong=shared and others > OTHERS,
    )


def _timer(seen: Seen) -> Sign:
    return _sign(
        "timer",
        f"time.perf_counter advances by {seen.step_s * 1e9:.0f} ns",
        "cells below a millisecond will be off by more than a thousandth",
        wrong=seen.step_s > STEP_S,
    )


def _gpus(seen: Seen) -> tuple[Sign, ...]:
    if seen.untold:
        return (_sign("NVIDIA GPU", "", "", seen.untold, wrong=None),)
    return tuple(sign for card in seen.cards for sign in (_company(card), _held(card)))


def _company(card: Card) -> Sign:
    return _sign(
        f"{card.name}, processes",
        f"{card.others or 0} beside this one",
        "stop them, or trust paired ratios alone",
        "they are those of another namespace (a container), or not told",
        wrong=None if card.others is None else card.others > 0,
    )


def _held(card: Card) -> Sign:
    heat = "" if card.celsius is None else f", {card.celsius} °C"
    return _sign(
        f"{card.name}, clock",
        (f"held down by {', '.join(card.held)}" if card.held else "held down by nothing") + heat,
        "let it cool, raise its limit (nvidia-smi -pl), or lock its clock (nvidia-smi -lgc)",
        "this GPU does not tell what holds it down",
        wrong=None if card.held is None else bool(card.held),
    )
