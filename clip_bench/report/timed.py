"""What a timed cell says, as columns: its rounds, what they prove, whether to trust them, and what they took."""

from __future__ import annotations

import math

import numpy as np

from clip_bench.errors import UsageError
from clip_bench.record import Entry, Outcome, Record, Timing
from clip_bench.report import platforms
from clip_bench.timing.energy import per_thousand
from clip_bench.timing.percentiles import bound
from clip_bench.timing.stability import verdict
from clip_bench.timing.statistics import summary

MS = 1e3


def due(entry: Entry) -> Timing | None:
    """The timing of a cell that may have one: it ended ok, on hardware."""
    hardware = platforms.device(entry.record.target) not in platforms.NOT_HARDWARE
    return entry.record.timing if hardware and entry.outcome is Outcome.OK else None


def columns(record: Record, timing: Timing) -> dict[str, object]:
    """The columns of a timing, in ms, samples/s and J.

    Raises:
        UsageError: a timing that cannot be true: no rounds, a time or a window of zero.
    """
    told = summary(timing.rounds_s, timing.batch)
    row: dict[str, object] = {
        "rounds": told.rounds,
        "warmups": timing.warmups,
        "mean_ms": MS * told.mean_s,
        "p50_ms": MS * told.p50_s,
        "p90_ms": MS * told.p90_s,
        "min_ms": MS * told.min_s,
        "max_ms": MS * told.max_s,
        "throughput_avg": told.throughput_avg,
        "throughput_max": told.throughput_max,
        "throughput_min": told.throughput_min,
        "call_s": call_s(record, timing),
        "rounds_s": timing.rounds_s,
        "unstable": "; ".join(verdict(timing.rounds_s, timing.conditions).reasons),
        "conditions": timing.conditions,
    }
    return row | _proven(timing) | _window(timing) | _energy(record, timing)


def call_s(record: Record, timing: Timing) -> float:
    """What a call costs one device: the median of the rounds; of a load, whose calls overlap, the window over them.

    Raises:
        UsageError: no rounds, or a window that cannot be true.
    """
    rounds, window_s = len(timing.rounds_s), timing.window_s
    if rounds and window_s is None:
        return float(np.median(timing.rounds_s))
    if not rounds or window_s is None or not (math.isfinite(window_s) and window_s > 0):
        msg = f"{rounds} rounds in a window of {window_s} s cannot be true: measure the cell again"
        raise UsageError(msg)
    devices = len(record.boundary.device_ids) if record.boundary else 1
    return window_s * max(devices, 1) / rounds


def _proven(timing: Timing) -> dict[str, object]:
    """The bounds that hold at a stated confidence; NaN where there are too few calls."""
    bounds = {percentile: bound(timing.rounds_s, percentile).value_s for percentile in (90, 99)}
    return {f"p{each}_proven_ms": math.nan if value is None else MS * value for each, value in bounds.items()}


def _window(timing: Timing) -> dict[str, object]:
    """What all rounds of a load say together; a single round says nothing of the throughput."""
    if timing.window_s is None:
        return {}
    whole = len(timing.rounds_s) * timing.batch / timing.window_s
    return {"throughput_avg": whole, "throughput_max": math.nan, "throughput_min": math.nan}


def _energy(record: Record, timing: Timing) -> dict[str, object]:
    """Joules for a thousand embeddings; the counters ran during the warm-up calls, too."""
    energy = timing.energy
    if energy is None:
        return {}
    texts = record.boundary.texts if record.boundary else 0
    made = (len(timing.rounds_s) + max(timing.warmups, 0)) * (timing.batch + max(texts, 0))
    joules = math.nan if energy.joules is None else per_thousand(energy.joules, made)
    return {"energy_j": joules, "energy_source": energy.source}
