"""What vendors publish as the peak of a device at a precision: data beside this module, found by a device's name."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clip_bench.specs import Precision
from clip_bench.timing.roofline import Ceiling

TERA, GIGA = 1e12, 1e9
# Published precisions that bound each of ours, the nearest first: no device computes wider numbers faster.
ROOFS: dict[Precision, tuple[str, ...]] = {
    Precision.FP32: ("fp32", "fp16", "int8"),
    Precision.FP16: ("fp16", "int8"),
    Precision.BF16: ("bf16", "fp16", "int8"),
    Precision.A16W8: ("a16w8", "int8"),
    Precision.INT8_DYNAMIC: ("int8",),
    Precision.INT8_QDQ: ("int8",),
    Precision.INT8_NNCF: ("int8",),
    Precision.INT8_VENDOR: ("int8",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A ceiling as its vendor publishes it; ``steps`` halvings of width lie between it and the precision asked for."""

    device: str
    precision: str
    ceiling: Ceiling
    steps: int

    def __str__(self) -> str:
        amount = f"{self.device}, {self.precision} {self.ceiling.flops_s / TERA:g}"
        return f"{amount}, a bound: its own is not published" if self.steps else amount


def find(hardware: str, precision: Precision) -> Peak | None:
    """The peak of the device that *hardware* names, in free words, at *precision*, or the nearest that bounds it.

    It is the device's highest dense rate: for GeForce cards that of tensor cores with FP16 accumulation. None where
    the device is not in ``peaks.csv``, or has nothing there that bounds *precision*.
    """
    words = " ".join(hardware.lower().split())
    rows = [row for row in _rows() if re.search(row["pattern"], words)]
    for steps, published in enumerate(ROOFS[precision]):
        for row in rows:
            if row["precision"] == published:
                return Peak(device=row["name"], precision=published, ceiling=_ceiling(row), steps=steps)
    return None


def _ceiling(row: Mapping[str, str]) -> Ceiling:
    bytes_s = GIGA * float(row["gb_per_s"]) if row["gb_per_s"] else math.inf
    return Ceiling(flops_s=TERA * float(row["tera_per_s"]), bytes_s=bytes_s, source=row["source"])


@cache
def _rows() -> tuple[Mapping[str, str], ...]:
    with Path(__file__).with_name("peaks.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))
