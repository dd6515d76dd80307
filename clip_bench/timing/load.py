"""Many requests at once: a closed loop over several instances of a model, in one measured window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, islice
from queue import Empty, SimpleQueue
from typing import Protocol, runtime_checkable

from clip_bench.errors import UsageError
from clip_bench.record import Timing
from clip_bench.timing import latency
from clip_bench.timing.latency import Arrays, Benchmark, Clock, Session

PATIENCE_S = 30.0  # without a finished request, after which the runtime is asked what became of them
Done = Callable[[Arrays | BaseException], None]
Submit = Callable[[Arrays, Done], None]


@runtime_checkable
class Queue(Protocol):
    """What a session offers whose runtime has a queue of its own."""

    def submit(self, feeds: Arrays, done: Done) -> None:
        """Start a request; *done* gets its outputs, once they are on the host, on a thread of the runtime's."""

    def wait(self) -> None:
        """Return when every request is done, or raise what became of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a load measured, and the last outputs for each of the inputs that took turns."""

    timing: Timing
    outputs: Sequence[Arrays | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """How each client of the loop hands over a request, and how the runtime is asked for its errors.

    ``at_once`` is one client whose request is done when it is handed over.
    """

    clients: Sequence[Submit]
    wait: Callable[[], None] = lambda: None
    at_once: bool = False


@dataclass(slots=True, kw_only=True)
class Loop:
    """When each request began and ended, in seconds of the clock, and what it gave.

    ``turns`` are the requests yet to be handed over; one step of it is never interrupted by another thread. ``over``
    gets a word from each client that has none left.
    """

    turns: Iterator[tuple[int, Arrays]]
    clock: Clock
    began: list[float]
    ended: list[float]
    outputs: list[Arrays | None]
    at_once: bool
    errors: list[BaseException] = field(default_factory=list)
    over: SimpleQueue[None] = field(default_factory=SimpleQueue)

    def hand_over(self, submit: Submit) -> bool:
        """Hand over the next request; whether there was one, and it could be."""
        turn = next(self.turns, None)
        if turn is None or self.errors:
            return False
        index, feed = turn
        try:
            self.began[index] = self.clock()
            submit(feed, partial(self.done, submit, index))
        except BaseException as exc:  # noqa: BLE001  on a thread of the runtime's nobody would see it
            self.errors.append(exc)
            return False
        return True

    def done(self, submit: Submit, index: int, outputs: Arrays | BaseException) -> None:
        """Note that a request is done, and hand over the client's next one."""
        self.ended[index] = self.clock()
        if isinstance(outputs, BaseException):
            self.errors.append(outputs)
        else:
            self.outputs[index % len(self.outputs)] = outputs
        if not self.at_once and not self.hand_over(submit):
            self.over.put(None)


def measure(
    benchmark: Benchmark,
    sessions: Sequence[Session],
    feeds: Sequence[Arrays],
    *,
    fresh: bool = False,
    under_way: int,
    warmups: int,
    rounds: int,
    clock: Clock = time.perf_counter,
) -> Window:
    """Keep so many requests *under_way* until *rounds* are done, all in one window under the clock.

    A session with a queue of its own is a device with all its instances; other sessions are one instance each, with a
    thread that takes its next request from a queue for all of them. A request's seconds go from the moment that there
    is room for it until its outputs are on the host: they include the wait behind others, so that throughput times
    mean latency is the number under way. With *fresh* a copy of the inputs is in them. The window goes from the first request's start to the last one's end; the
    *warmups* before it are not counted. pytest-benchmark gets the window as one round.

    Raises:
        UsageError: *feeds* are unlike, or pytest-benchmark is disabled.
    """
    batch = latency.batch_of(feeds)
    with dispatched(sessions, under_way) as plain:
        dispatch = replace(plain, clients=[partial(_fresh, each) for each in plain.clients]) if fresh else plain
        drive(dispatch, feeds, warmups, clock)
        loop: Loop = benchmark.pedantic(
            lambda: drive(dispatch, feeds, rounds, clock),
            setup=lambda: ((), {}),
            rounds=1,
            warmup_rounds=0,
        )
    if benchmark.stats is None:
        raise UsageError(latency.DISABLED)
    seconds = tuple(end - begin for begin, end in zip(loop.began, loop.ended, strict=True))
    window_s = max(loop.ended) - loop.began[0]
    timing = Timing(rounds_s=seconds, warmups=warmups, batch=batch, window_s=window_s)
    return Window(timing=timing, outputs=loop.outputs)


def drive(dispatch: Dispatch, feeds: Sequence[Arrays], requests: int, clock: Clock) -> Loop:
    """Hand over *requests* and wait for all of them; each client of *dispatch* has one under way.

    It hands over its next request where it is told that its last one is done, on whatever thread that is: nobody has
    to wake up in between.
    """
    loop = Loop(
        turns=enumerate(islice(cycle(feeds), requests)),
        clock=clock,
        began=[0.0] * requests,
        ended=[0.0] * requests,
        outputs=[None] * len(feeds),
        at_once=dispatch.at_once,
    )
    if dispatch.at_once:
        while loop.hand_over(*dispatch.clients):
            pass
    else:
        for _ in range(sum([loop.hand_over(submit) for submit in dispatch.clients])):
            _waited(loop.over, dispatch)
    if loop.errors:
        raise loop.errors[0]
    return loop


def _waited(over: SimpleQueue[None], dispatch: Dispatch) -> None:
    """Return when a client is done with its last request; ask the runtime where none is for long."""
    while True:
        try:
            return over.get(timeout=PATIENCE_S)
        except Empty:
            dispatch.wait()


def _fresh(submit: Submit, feeds: Arrays, done: Done) -> None:
    submit(latency.copied(feeds), done)


@contextmanager
def dispatched(sessions: Sequence[Session], under_way: int) -> Iterator[Dispatch]:
    """So many clients for *sessions*, which stay the caller's to close."""
    queues = [session for session in sessions if isinstance(session, Queue)]
    if under_way == 1:
        yield _at_once(sessions[0])
    elif queues:
        yield _queues(queues, under_way)
    else:
        with ThreadPoolExecutor(len(sessions)) as pool:
            yield _threads(sessions, under_way, pool)


def _queues(queues: Sequence[Queue], under_way: int) -> Dispatch:
    """The runtimes' own queues, each with as many clients."""

    def wait() -> None:
        for queue in queues:
            queue.wait()

    return Dispatch(clients=[queue.submit for queue in islice(cycle(queues), under_way)], wait=wait)


def _at_once(session: Session) -> Dispatch:
    """One request under way needs no thread: it is run where it is handed over."""

    def submit(feeds: Arrays, done: Done) -> None:
        done(session.run(feeds))

    return Dispatch(clients=[submit], at_once=True)


def _threads(sessions: Sequence[Session], under_way: int, pool: ThreadPoolExecutor) -> Dispatch:
    """A thread for each instance, and one queue that they take requests from."""
    free: SimpleQueue[Session] = SimpleQueue()
    for session in sessions:
        free.put(session)

    def job(feeds: Arrays, done: Done) -> None:
        session = free.get()
        try:
            outputs: Arrays | BaseException = session.run(feeds)
        except BaseException as exc:  # noqa: BLE001  raised again by the one who waits
            outputs = exc
        free.put(session)
        done(outputs)

    def submit(feeds: Arrays, done: Done) -> None:
        pool.submit(job, feeds, done)

    return Dispatch(clients=[submit] * under_way)
