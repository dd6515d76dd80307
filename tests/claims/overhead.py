"""No overhead of our own: each runtime's session as the suite loads it, beside a bare loop around its API.

``python tests/claims/overhead.py``. Two comparisons for each cell, both of which the bound is for:

* *the call*: both arms call one and the same session, so that only our wrapper differs. They take turns call by call,
  in ABBA order, so that whatever else the machine does happens to both alike.
* *the session*: the bare arm has a session of its own, loaded from the same artifact through the runtime's API
  alone, so that what we tell the runtime differs as well (a profile that stays on, a thread too many). Two sessions
  have two thread pools, so that they take turns in blocks, and the first calls of a block, in which the other
  session's threads are still awake, do not count. Of two equal sessions the one that was made later may be the
  faster: ONNX Runtime's was, by 5 %. So this is measured with ours made first and with ours made last, several times
  over, and the mean of all is told.

A difference is the median, over ABBA groups, of our calls minus the bare ones beside them: where a machine is slow for
a while, or now and then, two medians over all calls may come from different whiles. Its interval is a bootstrap of
the groups and, where sessions are made anew, of their pairs. A bound holds where the whole interval lies under it.
Groups are added until the interval is narrow beside the bound, whatever it says, or until time is up.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cells
import numpy as np
import verdict
from numpy.typing import NDArray

from clip_bench.backends import Arrays
from clip_bench.settings import Settings
from clip_bench.specs import Case, Precision
from clip_bench.store import Artifact

SHARE = 0.01  # of the bare call
LEAST_S = 30e-6
CONFIDENCE = 0.95
RESAMPLES = 999
CALLS_S = 15.0  # at most, of a comparison on one session
PART_S = 1.0  # at least 20 groups; sessions differ among themselves by more than a longer look would tell
PAIRS = 12  # of pairs of sessions, ours made first and ours made last
NARROW = 0.5  # of the bound: half of the interval that is narrow enough
ROUND_S = 0.5  # between two looks at the interval
LEAST = 20  # groups
COUNTED, UNCOUNTED = 10, 3  # calls of a block, of two sessions
TOWERS = ("image", "text")

Call = Callable[[Arrays], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """A runtime's own loop: around the session that ours holds, and around one that its API alone makes."""

    precisions: frozenset[Precision]
    held: Callable[[Any], Any]
    alone: Callable[[Artifact, int], Any]
    around: Callable[[Any], Call]


def onnx_session(artifact: Artifact, threads: int) -> Any:
    """A session on the CPU, of so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(artifact.file(".onnx"), options, providers=["CPUExecutionProvider"])


def onnx_loop(session: Any) -> Call:
    """Arrays in, arrays out."""
    names = [each.name for each in session.get_outputs()]
    return lambda feeds: session.run(names, feeds)


def intel_request(artifact: Artifact, threads: int) -> Any:
    """A request on the CPU, in float32, for least latency."""
    import openvino

    pinned = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    model = openvino.Core().compile_model(artifact.file(".xml"), "CPU", {"PERFORMANCE_HINT": "LATENCY", **pinned})
    return model.create_infer_request()


def intel_loop(request: Any) -> Call:
    """Inputs are read where they lie; outputs are copied out of the request, which overwrites them."""
    return lambda feeds: request.infer(feeds, share_inputs=True)


def eager_module(artifact: Artifact, threads: int) -> Any:
    """The exported program, to be called."""
    import torch

    torch.set_num_threads(threads)
    return torch.export.load(artifact.file(".pt2")).module()


def eager_loop(module: Any) -> Call:
    """A tensor shares its memory with the array, both ways."""
    import torch

    def call(feeds: Arrays) -> object:
        with torch.inference_mode():
            return module(*(torch.from_numpy(each) for each in feeds.values())).numpy()

    return call


BARE: Mapping[str, Bare] = {  # by target; others have no loop here
    "onnxruntime-cpu": Bare(
        precisions=frozenset({Precision.FP32, Precision.INT8_DYNAMIC}),
        held=lambda session: session.session,
        alone=onnx_session,
        around=onnx_loop,
    ),
    "openvino-cpu": Bare(
        precisions=frozenset({Precision.FP32}),
        held=lambda session: session.request,
        alone=intel_request,
        around=intel_loop,
    ),
    "torch-cpu": Bare(
        precisions=frozenset({Precision.FP32}),
        held=lambda session: session.module,
        alone=eager_module,
        around=eager_loop,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Our call minus the bare one, in seconds, and its interval."""

    bare_s: float
    value_s: float
    low_s: float
    high_s: float

    @property
    def bound_s(self) -> float:
        """What it may be: a share of the bare call, or some microseconds where that is more."""
        return max(LEAST_S, SHARE * self.bare_s)

    @property
    def holds(self) -> bool:
        """Whether all of the interval lies under the bound."""
        return self.high_s <= self.bound_s

    @property
    def known(self) -> bool:
        """Whether the interval is narrow beside the bound."""
        return (self.high_s - self.low_s) / 2 <= NARROW * self.bound_s


def difference(parts: Sequence[NDArray[np.float64]], seed: int = 0) -> Difference:
    """The mean over *parts* of their median differences; a part is (groups, 2, 2): ours and bare, two blocks of each.

    Several parts are pairs, of ours made first and ours made last: a resample takes whole pairs.
    """
    draw = np.random.default_rng(seed)
    apart = [part[:, 0].mean(axis=1) - part[:, 1].mean(axis=1) for part in parts]
    medians = np.array([np.median(each) for each in apart])
    moved = np.array([np.median(each[draw.integers(0, len(each), (RESAMPLES, len(each)))], axis=1) for each in apart])
    pairs = moved.reshape(-1, min(2, len(parts)), RESAMPLES).mean(axis=1)
    chosen = draw.integers(0, len(pairs), (len(pairs), RESAMPLES))
    low, high = np.quantile(
        np.take_along_axis(pairs, chosen, axis=0).mean(axis=0), ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    )
    bare = np.mean([np.median(part[:, 1]) for part in parts])
    return Difference(bare_s=float(bare), value_s=float(medians.mean()), low_s=float(low), high_s=float(high))


def group(arms: Sequence[Call], feeds: Arrays, counted: int, uncounted: int) -> list[list[float]]:
    """The medians of two blocks of each of two *arms*, in the order ABBA, in seconds of a call."""
    found: list[list[float]] = [[], []]
    for arm in (0, 1, 1, 0):
        call, times = arms[arm], []
        for _ in range(uncounted):
            call(feeds)
        for _ in range(counted):
            began = time.perf_counter()
            call(feeds)
            times.append(time.perf_counter() - began)
        found[arm].append(float(np.median(times)))
    return found


def blocks(own: Call, bare: Call, feeds: Arrays, counted: int, uncounted: int, longest_s: float) -> NDArray[np.float64]:
    """Groups of both, who begins in turns, until their difference is known or time is up."""
    began, groups = time.perf_counter(), []
    while True:
        look = time.perf_counter()
        while time.perf_counter() - look < ROUND_S or len(groups) < LEAST:
            if len(groups) % 2:
                groups.append(group((bare, own), feeds, counted, uncounted)[::-1])
            else:
                groups.append(group((own, bare), feeds, counted, uncounted))
        found = np.array(groups)
        if difference([found]).known or time.perf_counter() - began > longest_s:
            return found


def told(name: str, arm: str, found: Difference) -> verdict.Row:
    """The line of one comparison."""
    span = (found.value_s, found.low_s, found.high_s)
    micro = [f"{1e6 * each:+.1f}" for each in span]
    percent = [f"{100 * each / found.bare_s:+.2f}" for each in span]
    return verdict.row(
        cell=name,
        compared=arm,
        bare_ms=f"{1e3 * found.bare_s:.3f}",
        ours_µs=f"{micro[0]} ({micro[1]} to {micro[2]})",
        ours_percent=f"{percent[0]} ({percent[1]} to {percent[2]})",
        bound_µs=f"{1e6 * found.bound_s:.0f}",
        holds=found.holds,
    )


def the_call(case: Case, options: Settings) -> Difference:
    """Our wrapper and the bare loop, around one session."""
    bare = BARE[str(case.target)]
    with cells.loaded(case, options) as prepared:
        call = bare.around(bare.held(prepared.session))
        return difference([blocks(prepared.session.run, call, prepared.calls[0], 1, 0, CALLS_S)])


def the_session(case: Case, options: Settings) -> Difference:
    """Our session and a bare one, ours made first and then ours made last."""
    bare, artifact, parts = BARE[str(case.target)], cells.artifact_of(case, options), []
    for first in (True, False) * PAIRS:
        early = None if first else bare.alone(artifact, options.threads)
        with cells.loaded(case, options) as prepared:
            call = bare.around(early or bare.alone(artifact, options.threads))
            for _ in range(UNCOUNTED):
                call(prepared.calls[0])
            parts.append(blocks(prepared.session.run, call, prepared.calls[0], COUNTED, UNCOUNTED, PART_S))
    return difference(parts)


def main() -> int:
    """Measure, print, and say whether the bound holds everywhere."""
    options = cells.settings("shapes_tiny")
    rows = [
        line
        for case in cells.here(options).values()
        if case.tower in TOWERS
        and not str(case.variant)
        and str(case.target) in BARE
        and case.precision in BARE[str(case.target)].precisions
        for line in (
            told(case.id, "the call", the_call(case, options)),
            told(case.id, "the session", the_session(case, options)),
        )
    ]
    return verdict.show(rows)


if __name__ == "__main__":
    sys.exit(main())
