"""A round is one call, and only the call is inside the clock."""

import time

import numpy as np
import pytest

from clip_bench.errors import UsageError
from clip_bench.timing import latency

CALL_S = 2.0
SETUP_S = 100.0


class Clock:
    """Seconds that pass only when somebody spends them."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Spender:
    """A session whose n-th call takes n times CALL_S, and which remembers its feeds."""

    def __init__(self, clock):
        self.clock = clock
        self.seen = []

    def run(self, feeds):
        self.seen.append(feeds)
        self.clock.now += CALL_S * len(self.seen)
        return {"embedding": np.zeros((1, 2))}


class SlowFeeds(list):
    """Feeds that take SETUP_S each to fetch."""

    def __init__(self, feeds, clock):
        super().__init__(feeds)
        self.clock = clock

    def __iter__(self):
        for feed in super().__iter__():
            self.clock.now += SETUP_S
            yield feed


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def benchmark_at(request, clock):
    """pytest-benchmark's own fixture, on whatever the options say, with our clock and outside its table.

    Asked for by name: a test that lists it is run by --benchmark-only as if it were a cell.
    """
    fixture = request.getfixturevalue("benchmark")
    fixture.disabled = False
    fixture._timer = clock
    fixture._add_stats = lambda _: None
    fixture.skipped = True  # no warning where a test ends before the clock starts
    return fixture


def feed(value=0.0, batch=1):
    return {"pixels": np.full((batch, 3), value, np.float32)}


def test_each_round_is_the_seconds_of_one_call(benchmark_at, clock):
    timing = latency.measure(benchmark_at, Spender(clock), [feed()], warmups=2, rounds=3)

    assert timing.rounds_s == (3 * CALL_S, 4 * CALL_S, 5 * CALL_S)
    assert timing.warmups == 2


def test_fetching_a_feed_is_outside_the_clock(benchmark_at, clock):
    feeds = SlowFeeds([feed(), feed(1)], clock)

    timing = latency.measure(benchmark_at, Spender(clock), feeds, warmups=0, rounds=2)

    assert clock.now > 2 * SETUP_S
    assert timing.rounds_s == (CALL_S, 2 * CALL_S)


def test_feeds_rotate_on_from_warmups_to_rounds(benchmark_at, clock):
    feeds, session = [feed(0), feed(1), feed(2)], Spender(clock)

    latency.measure(benchmark_at, session, feeds, warmups=2, rounds=5)

    assert [seen["pixels"][0, 0] for seen in session.seen] == [0, 1, 2, 0, 1, 2, 0]


def test_ten_warmups_and_64_rounds_are_the_default(benchmark_at, clock):
    session = Spender(clock)

    timing = latency.measure(benchmark_at, session, [feed()])

    assert (timing.warmups, len(timing.rounds_s), len(session.seen)) == (10, 64, 74)


@pytest.mark.parametrize(
    ("feeds", "batch"),
    [
        (feed(batch=1), 1),
        (feed(batch=8), 8),
        ({"pixels": np.zeros((1, 3, 8, 8)), "ids": np.zeros((10, 77)), "scale": np.float32(1)}, 1),
    ],
    ids=["one", "eight", "one_with_ten"],
)
def test_the_batch_is_the_smallest_leading_dimension(benchmark_at, clock, feeds, batch):
    timing = latency.measure(benchmark_at, Spender(clock), [feeds], warmups=0, rounds=1)

    assert timing.batch == batch


@pytest.mark.parametrize(
    "feeds",
    [[], [feed(batch=1), feed(batch=2)], [feed(), {"ids": feed()["pixels"]}], [feed(), {"pixels": np.zeros((1, 3))}]],
    ids=["none", "shapes", "names", "types"],
)
def test_unlike_feeds_are_refused_before_anything_runs(benchmark_at, clock, feeds):
    session = Spender(clock)

    with pytest.raises(UsageError, match="feeds of one layout"):
        latency.measure(benchmark_at, session, feeds)

    assert session.seen == []


def test_a_disabled_benchmark_is_an_error_and_no_timing(benchmark_at, clock):
    benchmark_at.disabled = True
    session = Spender(clock)

    with pytest.raises(UsageError, match="without --benchmark-disable"):
        latency.measure(benchmark_at, session, [feed()])

    assert len(session.seen) == 1


def test_an_error_inside_the_clock_is_not_swallowed(benchmark_at):
    class Broken:
        def run(self, feeds):
            msg = f"device lost at {sorted(feeds)}"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="device lost"):
        latency.measure(benchmark_at, Broken(), [feed()])


def test_the_first_call_is_timed_until_its_outputs_are_here():
    class Sleeper:
        def run(self, feeds):
            time.sleep(0.02)
            return {"embedding": feeds["pixels"] + 1}

    began = time.perf_counter()
    outputs, seconds = latency.once(Sleeper(), feed(1))
    total = time.perf_counter() - began

    assert 0.02 <= seconds <= total
    assert outputs["embedding"].tolist() == [[2, 2, 2]]


def test_a_fresh_round_has_arrays_of_its_own_inside_the_clock(benchmark_at, clock):
    given, session = feed(1), Spender(clock)

    timing = latency.measure(benchmark_at, session, [given], fresh=True, warmups=0, rounds=2)

    assert not any(np.shares_memory(seen["pixels"], given["pixels"]) for seen in session.seen)
    assert [seen["pixels"].tolist() for seen in session.seen] == [given["pixels"].tolist()] * 2
    assert timing.rounds_s == (CALL_S, 2 * CALL_S)


def test_without_it_the_arrays_are_those_that_were_given(benchmark_at, clock):
    given, session = feed(1), Spender(clock)

    latency.measure(benchmark_at, session, [given], warmups=1, rounds=1)

    assert all(seen is given for seen in session.seen)


def test_feeds_of_two_layouts_are_told_with_both():
    with pytest.raises(UsageError) as refused:
        latency.batch_of([feed(batch=2), feed(batch=1), feed(batch=2)])

    assert str(refused.value) == (
        "the rounds of a timing need feeds of one layout, these have 2: "
        "[(('pixels', (1, 3), 'float32'),), (('pixels', (2, 3), 'float32'),)]"
    )


def test_the_order_of_names_is_no_other_layout():
    one, other = {"a": np.zeros((2, 1)), "b": np.zeros((3, 1))}, {"b": np.zeros((3, 1)), "a": np.zeros((2, 1))}

    assert latency.batch_of([one, other]) == 2
