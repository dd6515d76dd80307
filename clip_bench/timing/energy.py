"""Joules over a window, from the counters of the processor's packages (RAPL) or of an NVIDIA GPU (NVML)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_bench.errors import UnavailableError, UsageError
from clip_bench.record import Energy
from clip_bench.specs import Device, Target
from clip_bench.timing import nvml

POWERCAP = Path("/sys/class/powercap")
READABLE = "sudo chmod a+r {folder}/*/energy_uj, until the next boot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One counter at one moment: joules since some time ago, starting anew after ``range_j`` where that is known."""

    name: str
    joules: float
    range_j: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the counters of a place stood at; none where nothing tells, and ``reason`` says why."""

    target: Target
    gpus: tuple[int, ...]
    folder: Path
    counters: tuple[Counter, ...] = ()
    reason: str = ""


def begin(target: Target, *, gpus: Sequence[int] = (0,), folder: Path = POWERCAP) -> Reading:
    """What the counters of *target* stand at: of a CPU all packages, of an NVIDIA GPU those that CUDA calls *gpus*.

    A counter holds all that its package or GPU did, other processes' work and idling too.
    """
    try:
        counters = _counters(target, gpus, folder)
    except UnavailableError as exc:
        return Reading(target=target, gpus=tuple(gpus), folder=folder, reason=str(exc))
    return Reading(target=target, gpus=tuple(gpus), folder=folder, counters=counters)


def end(begun: Reading) -> Energy:
    """Joules since *begun*, and of what; a counter that started anew in between did so once.

    The counters tick every millisecond (RAPL: Intel SDM volume 3, 16.10) to tenths of a second (NVML): a window should be
    longer than a second. RAPL's go round after some minutes at full power, and a longer window has lost a round.
    """
    after = begin(begun.target, gpus=begun.gpus, folder=begun.folder)
    if reason := begun.reason or after.reason:
        return Energy(joules=None, source=reason)
    names = ", ".join(counter.name for counter in after.counters)
    if names != ", ".join(counter.name for counter in begun.counters):
        return Energy(joules=None, source="the energy counters are not those that there were at the beginning")
    joules = sum(_risen(*ends) for ends in zip(begun.counters, after.counters, strict=True))
    if joules <= 0:
        return Energy(joules=None, source=f"{names}: the energy counter stands still")
    return Energy(joules=joules, source=names)


def per_thousand(joules: float, embeddings: int) -> float:
    """Joules per thousand embeddings.

    Raises:
        UsageError: there were none.
    """
    if embeddings < 1:
        msg = f"energy per embedding needs at least 1 embedding, not {embeddings}"
        raise UsageError(msg)
    return 1000 * joules / embeddings


def _counters(target: Target, gpus: Sequence[int], folder: Path) -> tuple[Counter, ...]:
    """The counters of *target*; an UnavailableError says why there are none."""
    if target.device is Device.CPU:
        return _packages(folder)
    if target.device is not Device.GPU:
        msg = f"n/a: no counter is known for the device kind {target.device}"
        raise UnavailableError(msg)
    if not nvml.serves(target):
        msg = f"n/a: no counter is known for the GPU of {target}, NVIDIA's have one"
        raise UnavailableError(msg)
    joules = nvml.joules(gpus)
    if joules is None:
        msg = f"n/a: {nvml.missing() or 'this GPU tells NVML no energy (before Volta, or CUDA numbers it otherwise)'}"
        raise UnavailableError(msg)
    return (Counter(name=f"NVML: {', '.join(card.name for card in nvml.cards(gpus))}", joules=joules),)


def _packages(folder: Path) -> tuple[Counter, ...]:
    """Every package's counter; its cores, its memory and the whole board have others, and each lies in another.

    Linux's powercap has Intel's and, from 5.8 on, AMD's of family 17h and later, both called intel-rapl; a package that
    is also there by its memory-mapped registers (intel-rapl-mmio) counts once.
    """
    if not folder.is_dir():
        msg = f"n/a: no {folder}: a virtual machine or a container hides it, or the processor has no RAPL"
        raise UnavailableError(msg)
    found = []
    for domain in sorted(folder.glob("*-rapl:*")):
        try:
            name = (domain / "name").read_text().strip()
            if name.startswith("package"):
                found.append(_package(domain, name))
        except PermissionError as exc:
            msg = f"n/a: the energy of {name} is for root alone: {READABLE.format(folder=folder)}"
            raise UnavailableError(msg) from exc
        except (OSError, ValueError) as exc:
            msg = f"n/a: {domain.name} cannot be read ({exc})"
            raise UnavailableError(msg) from exc
    if not found:
        msg = f"n/a: {folder} lists no package of a processor"
        raise UnavailableError(msg)
    return tuple(found)


def _package(domain: Path, name: str) -> Counter:
    microjoules = int((domain / "energy_uj").read_text())
    return Counter(
        name=f"RAPL: {name}",
        joules=microjoules / 1e6,
        range_j=int((domain / "max_energy_range_uj").read_text()) / 1e6,
    )


def _risen(before: Counter, after: Counter) -> float:
    """How far a counter rose, having gone round once if it is lower now."""
    rise = after.joules - before.joules
    return rise + after.range_j if rise < 0 and after.range_j is not None else rise
