"""The stopwatch that stands where pytest-benchmark's fixture does."""

import time
from itertools import count

from clip_bench.timing.stopwatch import Stopwatch


def test_the_rounds_alone_are_counted_and_the_last_result_is_given():
    watch, turns = Stopwatch(), count()

    last = watch.pedantic(lambda turn: turn, setup=lambda: ((next(turns),), {}), rounds=3, warmup_rounds=2)

    assert (last, len(watch.stats["data"])) == (4, 3)
    assert watch.extra_info == {}


def test_the_call_is_under_the_clock_and_what_is_made_ready_is_not(monkeypatch):
    now = [0.0]

    def spend(seconds):
        now[0] += seconds

    def ready():
        spend(100.0)
        return (), {"seconds": 3.0}

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    watch = Stopwatch()

    watch.pedantic(spend, setup=ready, rounds=2, warmup_rounds=1)

    assert watch.stats["data"] == [3.0, 3.0]
