"""Many requests at once: a closed loop, in one window."""

import threading
import time

import numpy as np
import pytest

from clip_bench.errors import UsageError
from clip_bench.timing import load

CALL_S = 0.002


class Worker:
    """An instance that takes CALL_S for a request, and knows how many requests all of its kind had at once."""

    lock = threading.Lock()

    def __init__(self, shared):
        self.shared = shared
        self.threads = set()

    def run(self, feeds):
        with self.lock:
            self.threads.add(threading.get_ident())
            self.shared["now"] += 1
            self.shared["most"] = max(self.shared["most"], self.shared["now"])
            self.shared["seen"].append(feeds["pixels"])
        time.sleep(CALL_S)
        with self.lock:
            self.shared["now"] -= 1
        return {"embedding": feeds["pixels"] * 2}


class Runtime(Worker):
    """The same with a queue of its own: each request is done by a thread of the runtime's."""

    def __init__(self, shared, fails=-1):
        super().__init__(shared)
        self.running = []
        self.fails = fails
        self.raised = None

    def submit(self, feeds, done):
        def job():
            if len(self.shared["seen"]) == self.fails:
                self.raised = RuntimeError("the runtime's own error")
                return
            done(self.run(feeds))

        self.running.append(threading.Thread(target=job))
        self.running[-1].start()

    def wait(self):
        for each in self.running:
            each.join()
        if self.raised is not None:
            raise self.raised


class Broken(Worker):
    """One whose second request fails."""

    def run(self, feeds):
        if self.shared["seen"]:
            msg = "out of order"
            raise ValueError(msg)
        return super().run(feeds)


@pytest.fixture
def shared():
    return {"now": 0, "most": 0, "seen": []}


@pytest.fixture
def stopwatch(request):
    """pytest-benchmark's own fixture, outside its table."""
    fixture = request.getfixturevalue("benchmark")
    fixture.disabled = False
    fixture._add_stats = lambda _: None
    fixture.skipped = True
    return fixture


FEEDS = [{"pixels": np.full((2, 3), value, np.float32)} for value in range(3)]


def test_no_more_requests_are_under_way_than_instances_can_execute(stopwatch, shared):
    workers = [Worker(shared), Worker(shared)]

    window = load.measure(stopwatch, workers, FEEDS, under_way=4, warmups=3, rounds=20)

    assert shared["most"] == 2
    assert len(shared["seen"]) == 23
    assert len(window.timing.rounds_s) == 20
    assert all(worker.threads for worker in workers)


def test_a_request_that_waits_behind_another_takes_as_much_longer(stopwatch, shared):
    """One instance with a queue of 3 has 4 requests under way: each takes the time of four."""
    timing = load.measure(stopwatch, [Worker(shared)], FEEDS, under_way=4, warmups=0, rounds=40).timing

    under_way = sum(timing.rounds_s) / timing.window_s
    assert 3 < under_way <= 4
    assert np.median(timing.rounds_s) > 3.5 * CALL_S
    assert timing.window_s >= 40 * CALL_S


def test_one_request_at_a_time_is_run_where_it_is_handed_over(stopwatch, shared):
    worker = Worker(shared)

    load.measure(stopwatch, [worker], FEEDS, under_way=1, warmups=1, rounds=5)

    assert worker.threads == {threading.get_ident()}


def test_a_runtimes_own_queue_is_used_in_the_place_of_threads(stopwatch, shared):
    runtimes = [Runtime(shared), Runtime(shared)]

    window = load.measure(stopwatch, runtimes, FEEDS, under_way=4, warmups=0, rounds=12)

    assert min(len(each.running) for each in runtimes) >= 2  # two clients each; the faster one takes more
    assert sum(len(each.running) for each in runtimes) == 12
    assert shared["most"] <= 4
    assert len(window.timing.rounds_s) == 12


def test_what_was_answered_last_to_each_of_the_feeds_is_kept(stopwatch, shared):
    window = load.measure(stopwatch, [Worker(shared)], FEEDS, under_way=2, warmups=0, rounds=7)

    assert [outputs["embedding"][0, 0] for outputs in window.outputs] == [0, 2, 4]
    assert window.timing.batch == 2


def test_a_fresh_request_has_arrays_of_its_own(stopwatch, shared):
    load.measure(stopwatch, [Worker(shared)], FEEDS, fresh=True, under_way=2, warmups=0, rounds=6)

    assert not any(np.shares_memory(seen, feed["pixels"]) for seen in shared["seen"] for feed in FEEDS)
    assert [seen[0, 0] for seen in shared["seen"]] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("under_way", [1, 3], ids=["alone", "queued"])
def test_an_error_of_an_instance_ends_the_window(stopwatch, shared, under_way):
    with pytest.raises(ValueError, match="out of order"):
        load.measure(stopwatch, [Broken(shared)], FEEDS, under_way=under_way, warmups=0, rounds=9)


def test_an_error_that_a_runtime_keeps_to_itself_is_asked_for(stopwatch, shared, monkeypatch):
    """A request that never ends leaves its room taken; the runtime is asked what became of it."""
    monkeypatch.setattr(load, "PATIENCE_S", 0.05)

    with pytest.raises(RuntimeError, match="the runtime's own error"):
        load.measure(stopwatch, [Runtime(shared, fails=3)], FEEDS, under_way=2, warmups=0, rounds=9)


def test_a_window_that_the_plugin_did_not_time_is_refused(stopwatch, shared):
    stopwatch.disabled = True

    with pytest.raises(UsageError, match="nothing was timed"):
        load.measure(stopwatch, [Worker(shared)], FEEDS, under_way=2, warmups=0, rounds=3)


def test_the_plugin_gets_the_window_as_one_round(stopwatch, shared):
    timing = load.measure(stopwatch, [Worker(shared)], FEEDS, under_way=2, warmups=0, rounds=5).timing

    (whole,) = stopwatch.stats["data"]
    assert timing.window_s <= whole < timing.window_s + 0.1


class Timed:
    """An instance on a clock that only it moves, two seconds more with each request."""

    def __init__(self):
        self.now, self.calls = 10.0, 0

    def __call__(self):
        return self.now

    def run(self, feeds):
        self.calls += 1
        self.now += 2.0 * self.calls
        return {"embedding": feeds["pixels"]}


def test_a_window_goes_from_the_first_request_to_the_end_of_the_last(stopwatch):
    session = Timed()

    window = load.measure(stopwatch, [session], FEEDS, under_way=1, warmups=2, rounds=3, clock=session)

    assert window.timing.rounds_s == (6.0, 8.0, 10.0)
    assert (window.timing.window_s, window.timing.warmups, window.timing.batch) == (24.0, 2, 2)


def test_a_fresh_request_is_copied_where_nobody_waits_too(stopwatch, shared):
    load.measure(stopwatch, [Worker(shared)], FEEDS[:1], fresh=True, under_way=1, warmups=0, rounds=2)

    assert not any(np.shares_memory(seen, FEEDS[0]["pixels"]) for seen in shared["seen"])
    assert all((seen == FEEDS[0]["pixels"]).all() for seen in shared["seen"])


def test_otherwise_the_arrays_are_those_that_were_given(stopwatch, shared):
    load.measure(stopwatch, [Worker(shared)], FEEDS[:1], under_way=2, warmups=0, rounds=2)

    assert all(seen is FEEDS[0]["pixels"] for seen in shared["seen"])


@pytest.mark.parametrize("under_way", [1, 2], ids=["alone", "queued"])
def test_what_was_not_timed_is_told_in_words(stopwatch, shared, under_way):
    stopwatch.disabled = True

    with pytest.raises(UsageError) as refused:
        load.measure(stopwatch, [Worker(shared)], FEEDS, under_way=under_way, warmups=0, rounds=3)

    assert str(refused.value) == (
        "pytest-benchmark is disabled, nothing was timed: run without --benchmark-disable and without xdist (-n)"
    )


def test_unlike_feeds_are_refused_before_a_request_is_made(stopwatch, shared):
    with pytest.raises(UsageError, match="feeds of one layout"):
        load.measure(stopwatch, [Worker(shared)], [], under_way=2, warmups=0, rounds=3)

    assert shared["seen"] == []


class Refusing(Runtime):
    """A runtime whose queue takes no third request."""

    def submit(self, feeds, done):
        if len(self.running) == 2:
            msg = "the queue is full"
            raise ValueError(msg)
        super().submit(feeds, done)


def test_a_request_that_a_queue_does_not_take_ends_the_window(stopwatch, shared):
    with pytest.raises(ValueError, match="the queue is full"):
        load.measure(stopwatch, [Refusing(shared)], FEEDS, under_way=2, warmups=0, rounds=9)


@pytest.mark.parametrize(("under_way", "each"), [(4, [2, 2]), (5, [3, 2])])
def test_queues_share_the_clients_evenly(shared, under_way, each):
    queues = [Runtime(shared), Runtime(shared)]

    with load.dispatched(queues, under_way) as dispatch:
        handed = [client.__self__ for client in dispatch.clients]

    assert [sum(queue is one for one in handed) for queue in queues] == each
    assert not dispatch.at_once


def test_every_queue_is_asked_for_its_errors(shared):
    queues = [Runtime(shared), Runtime(shared)]
    queues[1].raised = RuntimeError("the second's own error")

    with load.dispatched(queues, 2) as dispatch, pytest.raises(RuntimeError, match="the second's own error"):
        dispatch.wait()


def test_a_failed_warm_up_is_no_window(stopwatch, shared):
    with pytest.raises(ValueError, match="out of order"):
        load.measure(stopwatch, [Broken(shared)], FEEDS, under_way=1, warmups=2, rounds=1)

    assert stopwatch.stats is None


def test_an_answer_that_is_an_error_is_raised_and_not_kept(shared):
    class Answering(Worker):
        def run(self, feeds):
            super().run(feeds)
            return LookupError("no such graph")

    with load.dispatched([Answering(shared)], 2) as dispatch, pytest.raises(LookupError, match="no such graph"):
        load.drive(dispatch, FEEDS, 2, time.perf_counter)


def test_fewer_requests_than_clients_are_all_there_are(shared):
    with load.dispatched([Worker(shared)], 4) as dispatch:
        loop = load.drive(dispatch, FEEDS, 2, time.perf_counter)

    assert len(shared["seen"]) == 2
    assert len(loop.began) == len(loop.ended) == 2
    assert [outputs is None for outputs in loop.outputs] == [False, False, True]


def test_requests_one_after_another_are_as_many_as_one_likes(stopwatch):
    session = Timed()

    window = load.measure(stopwatch, [session], FEEDS, under_way=1, warmups=0, rounds=3000, clock=session)

    assert len(window.timing.rounds_s) == session.calls == 3000
