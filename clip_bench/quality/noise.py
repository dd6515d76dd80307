"""The reference's noise floor: how far it drifts from itself when the same thing is computed another way.

No cell can be told from the reference by less than this, so a cell's drift is given as a multiple of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from clip_bench.quality.metrics import Rows, drift


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The reference's drift, 1 - mean cosine, when computed ``again``, in another ``batch``, with other ``threads``."""

    again: float
    batch: float
    threads: float

    @property
    def drift(self) -> float:
        """The largest of the three: the floor."""
        return max(self.again, self.batch, self.threads)


def measure(reference: Rows, *, again: Rows, batch: Rows, threads: Rows) -> Noise:
    """Compare the reference's rows, (n, width), with other computations of the same rows.

    Each figure is the mean of :func:`clip_bench.quality.metrics.drift`, ‖u - v‖² / 2 in float64: drifts of
    float32 are small enough for 1 - cosine to lose them to rounding.

    Raises:
        ValueError: the shapes differ, or there are no rows: this is the reference, which is ours to get right.
    """
    if not len(reference):
        msg = "the noise floor needs at least one row of the reference"
        raise ValueError(msg)
    return Noise(
        again=float(drift(again, reference).mean()),
        batch=float(drift(batch, reference).mean()),
        threads=float(drift(threads, reference).mean()),
    )
