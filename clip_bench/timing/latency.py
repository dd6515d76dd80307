"""How long a call of a session takes: its first, and its steady rounds through pytest-benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UsageError
from clip_bench.record import Timing

Arrays = Mapping[str, NDArray[np.generic]]
Clock = Callable[[], float]
DISABLED = "pytest-benchmark is disabled, nothing was timed: run without --benchmark-disable and without xdist (-n)"


class Session(Protocol):
    """What a clock needs of a ``backends.Session``, which stands above this package."""

    def run(self, feeds: Arrays) -> Arrays:
        """Run the graph once; return when the result is on the host."""


class Benchmark(Protocol):
    """What is used of pytest-benchmark's ``benchmark`` fixture; the caller passes it, so no pytest is imported."""

    extra_info: dict[str, Any]

    @property
    def stats(self) -> Any:  # noqa: ANN401  pytest-benchmark is not typed
        """After :meth:`pedantic`, the statistics (``["data"]``: seconds per round); None where it is disabled."""

    def pedantic(self, target: Callable[..., Any], *, setup: Callable[[], Any], rounds: int, warmup_rounds: int) -> Any:  # noqa: ANN401  whatever target returned last
        """Call *target* on what *setup* returns, *rounds* times under the clock, after uncounted warm-ups."""


def measure(
    benchmark: Benchmark,
    session: Session,
    feeds: Sequence[Arrays],
    *,
    fresh: bool = False,
    warmups: int = 10,
    rounds: int = 64,
) -> Timing:
    """Time *rounds* calls of *session*, one by one, after *warmups* uncounted ones, rotating over *feeds*.

    Inside the clock: ``session.run``, with every transfer that it makes, until its result is on the host; with *fresh*
    a copy of the feed before it. Outside: the choice of the next feed. The rotation goes on from warm-ups to rounds, so round i takes feed
    ``(warmups + i) % len(feeds)``. ``Timing.batch`` is the smallest leading dimension of a feed's arrays: one image
    with ten texts is one sample.

    Python's garbage collector stays on, as in real use, and what it takes inside a round counts;
    ``--benchmark-disable-gc`` switches it off inside every round and warm-up.

    Raises:
        UsageError: *feeds* is empty or its shapes or types differ, which would make unlike rounds; or
            pytest-benchmark is disabled (``--benchmark-disable``, or xdist is active): *session* then ran once,
            untimed, and a run without times must not look like one that was timed.
    """
    batch = batch_of(feeds)
    turns = cycle(feeds)
    call = (lambda feed: session.run(copied(feed))) if fresh else session.run
    benchmark.pedantic(call, setup=lambda: ((next(turns),), {}), rounds=rounds, warmup_rounds=warmups)
    if benchmark.stats is None:
        raise UsageError(DISABLED)
    return Timing(rounds_s=tuple(benchmark.stats["data"]), warmups=warmups, batch=batch)


def once(session: Session, feeds: Arrays) -> tuple[Arrays, float]:
    """Run *session* once: its outputs, and the seconds until they were on the host.

    A runtime may compile or allocate in its first calls; pytest-benchmark throws warm-ups away, so this is a clock
    of our own (``time.perf_counter``, the same clock as pytest-benchmark's default).
    """
    began = time.perf_counter()
    outputs = session.run(feeds)
    return outputs, time.perf_counter() - began


def copied(feed: Arrays) -> Arrays:
    """*feed* in arrays of its own, as a request brings them."""
    return {name: array.copy() for name, array in feed.items()}


def batch_of(feeds: Sequence[Arrays]) -> int:
    """Samples per call, if every one of *feeds* has the same names, shapes and types.

    Raises:
        UsageError: they differ, or there are none.
    """
    layouts: set[tuple[tuple[str, tuple[int, ...], str], ...]] = {
        tuple(sorted((name, array.shape, str(array.dtype)) for name, array in feed.items())) for feed in feeds
    }
    if len(layouts) != 1:
        msg = f"the rounds of a timing need feeds of one layout, these have {len(layouts)}: {sorted(layouts)}"
        raise UsageError(msg)
    (layout,) = layouts
    return min(shape[0] for _, shape, _ in layout if shape)
