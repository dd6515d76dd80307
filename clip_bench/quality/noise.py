"""The reference's noise floor: how far it drifts from itself when the same thing is computed another way.

No cell can be told from the reference by less than this, so a cell's drift is given as a multiple of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from clip_bench.quality.metrics import Floats, Rows, drift


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noise:
    """The drift, (n,), of the reference's rows when computed ``again``, in another ``batch``, with other ``threads``."""

    again: Floats
    batch: Floats
    threads: Floats

    @property
    def ways(self) -> Mapping[str, Floats]:
        """The three by name."""
        return asdict(self)

    @property
    def drift(self) -> float:
        """The largest mean of the three: the floor."""
        return max(float(rows.mean()) for rows in self.ways.values())


def measure(reference: Rows, *, again: Rows, batch: Rows, threads: Rows) -> Noise:
    """Compare the reference's rows, (n, width), with other computations of the same rows.

    Each figure is a :func:`clip_bench.quality.metrics.drift`, ‖u - v‖² / 2 in float64: drifts of float32 are small
    enough for 1 - cosine to lose them to rounding.

    Raises:
        ValueError: the shapes differ, or there are no rows: this is the reference, which is ours to get right.
    """
    if not len(reference):
        msg = "the noise floor needs at least one row of the reference"
        raise ValueError(msg)
    return Noise(again=drift(again, reference), batch=drift(batch, reference), threads=drift(threads, reference))
