"""The ceilings that a run measured, out of the JSON of its machine, and a cell held against those of its device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from clip_bench.errors import UsageError
from clip_bench.record import Conditions, Work
from clip_bench.specs import Device
from clip_bench.timing.roofline import Ceiling, verdict

COMPANY = 0.1  # cores: with more taken by others, a ceiling was found too low


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The most that a kind of device did at a precision, in FLOP/s, the target that did it and its product."""

    device: str
    precision: str
    flops_s: float
    by: str
    shape: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A precision that no runtime has on a kind of device, and each one's reason."""

    device: str
    precision: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes that the host's memory gives to so many *threads* per second."""

    read_bytes_s: float
    buffer_bytes: int
    threads: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What ``clip_bench.ceilings`` stored, as far as a table shows it."""

    arithmetic: tuple[Reached, ...]
    memory: Memory
    conditions: Conditions
    absent: tuple[Absent, ...] = ()

    @property
    def others(self) -> float:
        """Cores that others took while it was measured; 0 where that is little, or not told."""
        taken = self.conditions.others or 0.0
        return taken if taken > COMPANY else 0.0

    def of(self, device: str, precision: str) -> Ceiling | None:
        """What bounds a cell of *device* at *precision*; None where it was not measured.

        The bandwidth is the host's memory's as its processor reads it: of a GPU or an NPU it says nothing, and its
        ceiling is that of arithmetic alone.
        """
        found = next((each for each in self.arithmetic if (each.device, each.precision) == (device, precision)), None)
        if found is None:
            return None
        bytes_s = self.memory.read_bytes_s if device == Device.CPU else math.inf
        return Ceiling(flops_s=found.flops_s, bytes_s=bytes_s, source=found.by)


def read(machine: Mapping[str, Any]) -> Ceilings | None:
    """The ceilings among the facts of *machine*; None where none were measured.

    Raises:
        UsageError: they do not fit; the message names the first field that does not.
    """
    if machine.get("ceilings") is None:
        return None
    try:
        return _adapter().validate_python((machine["ceilings"],))[0]
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(str(part) for part in ("ceilings", *first["loc"][1:]))
        msg = f"{place}: {first['msg']}; measure them again with --roofline"
        raise UsageError(msg) from exc


def columns(
    work: Work | None, call_s: float | None, ceilings: Ceilings | None, place: tuple[str, str]
) -> dict[str, object]:
    """The columns of a cell's *work*, done in *call_s*, on the device and at the precision of *place*."""
    row: dict[str, object] = {"ceilings": ceilings}
    if work is None:
        return row
    row |= {"flops": work.flops, "bytes": work.bytes}
    if call_s is None:
        return row
    row |= {"reached_flops_s": work.flops / call_s}
    ceiling = ceilings.of(*place) if ceilings else None
    if ceiling is None or work.flops <= 0:
        return row
    found = verdict(work, call_s, ceiling)
    return row | {"bound": str(found.bound), "bound_percent": 100 * found.share, "verdict": str(found.word)}


@cache
def _adapter() -> TypeAdapter[tuple[Ceilings]]:
    return TypeAdapter(tuple[Ceilings], config=ConfigDict(allow_inf_nan=False))
