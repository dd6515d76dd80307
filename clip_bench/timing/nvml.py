"""NVIDIA GPUs, as their management library (NVML) tells of them: clocks, heat, company, energy."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from clip_bench.specs import Device, Target

PROVIDERS = frozenset({"cuda", "tensorrt", "trtrtx"})  # those of a Target whose device NVML knows
PACKAGE = "NVML is not asked: pip install nvidia-ml-py, which the extra cuda brings"
# What holds a clock down, by its bit: nvmlClocksEventReasons of nvml.h. An idle GPU's, and a clock that the user set, are none.
REASONS = {
    0x04: "its power limit",
    0x08: "a hardware slowdown",
    0x10: "another GPU's clock",
    0x20: "heat, by its driver",
    0x40: "heat, by its hardware",
    0x80: "a power brake",
}
POLICIES = {0: "power", 1: "heat"}  # nvmlPerfPolicyType_t


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What one GPU tells now; None where it does not.

    ``held`` names what holds its clock down at this moment, ``violations_s`` for how long power and heat did since the
    driver was loaded. ``others`` counts the processes on it beside this one: None where they belong to another
    namespace of process ids (a container), where this process cannot be told from them.
    """

    name: str
    mhz: int | None = None
    memory_mhz: int | None = None
    celsius: int | None = None
    held: tuple[str, ...] | None = None
    violations_s: tuple[tuple[str, float], ...] = ()
    others: int | None = None


def serves(target: Target) -> bool:
    """Whether the device of *target* is one that NVML may know: an NVIDIA GPU, by the target's provider."""
    return target.device is Device.GPU and target.provider in PROVIDERS


def missing() -> str:
    """Why nothing is told: no package, or no driver; empty where NVML answers."""
    found = _library()
    return found if isinstance(found, str) else ""


def cards(indices: Sequence[int] | None = None) -> tuple[Card, ...]:
    """The GPUs that CUDA calls *indices* in this process, as they are now; all that NVML lists where it is None.

    Empty where nothing is told: no NVML, or GPUs of several kinds, which CUDA numbers in an order of its own.
    """
    lib = _library()
    if isinstance(lib, str):
        return ()
    return tuple(_card(lib, handle) for handle in _handles(lib, indices))


def joules(indices: Sequence[int]) -> float | None:
    """Energy since the driver was loaded, of the GPUs that CUDA calls *indices*; None where one of them does not tell.

    Volta and later; NVML counts in millijoules, and some boards renew the count only every 20 to 100 ms.
    """
    lib = _library()
    handles = () if isinstance(lib, str) else _handles(lib, indices)
    if isinstance(lib, str) or not handles:
        return None
    told = [_asked(lib.nvmlDeviceGetTotalEnergyConsumption, handle) for handle in handles]
    return None if None in told else sum(told) / 1e3


@cache
def _library() -> ModuleType | str:
    """The module, ready to be asked, or why it is not; asked once."""
    try:
        import pynvml
    except ImportError:
        return PACKAGE
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        return f"NVML finds no driver of NVIDIA's ({exc})"
    module: ModuleType = pynvml
    return module


def _handles(lib: ModuleType, indices: Sequence[int] | None) -> tuple[Any, ...]:
    """NVML's handles of the GPUs that CUDA calls *indices*; none where CUDA's order is not known to be NVML's.

    CUDA numbers those in CUDA_VISIBLE_DEVICES, and the fastest first unless CUDA_DEVICE_ORDER=PCI_BUS_ID, which is NVML's
    order (CUDA C Programming Guide, "CUDA Environment Variables").
    """
    tried = (_asked(lib.nvmlDeviceGetHandleByIndex, i) for i in range(_asked(lib.nvmlDeviceGetCount) or 0))
    listed = [handle for handle in tried if handle is not None]  # of a container, those of others answer nothing
    if indices is None:
        return tuple(listed)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    words = [str(i) for i in range(len(listed))] if visible is None else visible.replace(" ", "").split(",")
    alike = len({_asked(lib.nvmlDeviceGetName, handle) for handle in listed}) == 1
    ordered = alike or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    found = []
    for word in (words[i] if i < len(words) else "" for i in indices):
        if word.isdecimal() and ordered and int(word) < len(listed):
            found.append(listed[int(word)])
        elif word.startswith("GPU-"):
            found += [each for each in listed if str(_asked(lib.nvmlDeviceGetUUID, each)).startswith(word)]
    return tuple(found) if len(found) == len(indices) else ()


def _card(lib: ModuleType, handle: object) -> Card:
    mask = _asked(lib.nvmlDeviceGetCurrentClocksThrottleReasons, handle)  # its old name, which every release has
    spent = {name: _asked(lib.nvmlDeviceGetViolationStatus, handle, policy) for policy, name in POLICIES.items()}
    return Card(
        name=_asked(lib.nvmlDeviceGetName, handle) or "NVIDIA GPU",
        mhz=_asked(lib.nvmlDeviceGetClockInfo, handle, lib.NVML_CLOCK_SM),
        memory_mhz=_asked(lib.nvmlDeviceGetClockInfo, handle, lib.NVML_CLOCK_MEM),
        celsius=_asked(lib.nvmlDeviceGetTemperature, handle, lib.NVML_TEMPERATURE_GPU),
        held=None if mask is None else tuple(name for bit, name in REASONS.items() if mask & bit),
        violations_s=tuple((name, told.violationTime / 1e9) for name, told in spent.items() if told is not None),
        others=_others(_asked(lib.nvmlDeviceGetComputeRunningProcesses, handle)),
    )


def _others(running: Sequence[Any] | None) -> int | None:
    """How many of the processes *running* are not this one."""
    import psutil

    if running is None or not all(psutil.pid_exists(each.pid) for each in running):
        return None
    return len({each.pid for each in running} - {os.getpid()})


def _asked(question: Callable[..., Any], *about: object) -> Any:  # noqa: ANN401  NVML's answers are of many types
    """What NVML answers, None where this GPU or this driver does not."""
    import pynvml

    try:
        return question(*about)
    except pynvml.NVMLError:
        return None
