"""A case in use: chosen by its id, opened, and given work as fast as it takes it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle

from clip_bench import backends, matrix, pipeline
from clip_bench.backends import Arrays, format_of
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.settings import Settings
from clip_bench.specs import Case, Load, Pattern
from clip_bench.store import Artifact
from clip_bench.timing import load

QUEUE = 1  # more for each instance while it executes one


def choose(name: str, settings: Settings) -> Case:
    """The cell that is called *name*, as ``clip-bench list`` prints it.

    Raises:
        UsageError: there is none.
        UnavailableError: this machine cannot run it.
    """
    found = backends.discover()
    every = replace(settings, full=True, models=(_model(name),) if _model(name) else settings.models)
    known = {case.id: case for case in matrix.cells(every, found)}
    if (case := known.get(name)) is None:
        near = ", ".join(difflib.get_close_matches(name, known, n=3)) or "none is like it"
        msg = f"no cell {name}: {near}; clip-bench list shows all there are"
        raise UsageError(msg)
    if reason := matrix.lacking(settings, found)(case):
        msg = f"{name} cannot run here: {reason}"
        raise UnavailableError(msg)
    return case


def _model(name: str) -> str:
    """The model that an id is of, if it has so many words."""
    words = name.split("-")
    return words[1] if len(words) > 1 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A case's sessions, all at work at once; ``under_way`` calls keep them busy."""

    case: Case
    artifact: Artifact
    dispatch: load.Dispatch
    clients: Iterator[load.Submit]
    open: list[Future[Arrays]] = field(default_factory=list)

    @property
    def under_way(self) -> int:
        """How many calls can be started before the first is done."""
        return len(self.dispatch.clients)

    def start(self, feeds: Arrays) -> Future[Arrays]:
        """Start a call of ``case.variant.batch`` samples; the arrays must stay as they are until it is done."""
        future: Future[Arrays] = Future()

        def done(outputs: Arrays | BaseException) -> None:
            if isinstance(outputs, BaseException):
                future.set_exception(outputs)
            else:
                future.set_result(outputs)

        next(self.clients)(feeds, done)
        return future

    def result(self, future: Future[Arrays]) -> Arrays:
        """What a call gave, by output name; what the runtime raised is raised here."""
        while True:
            try:
                return future.result(timeout=load.PATIENCE_S)
            except TimeoutError:
                self.dispatch.wait()


@contextmanager
def opened(case: Case, settings: Settings, *, batch: int, instances: int) -> Iterator[Encoder]:
    """*case* loaded with so many samples in a call and *instances* of the model, each in threads of its own.

    Raises:
        UnavailableError: the device, the package or the weights are not on this machine.
        UnsupportedError: nobody can build this cell, or the runtime refuses it.
        PlacementError: it runs elsewhere than asked, at the beginning or at the end.
    """
    asked = Load(pattern=Pattern.THROUGHPUT, instances=instances, queue=QUEUE)
    case = replace(case, variant=replace(case.variant, batch=batch, load=asked))
    backend = backends.discover()[case.target.backend]
    artifact = pipeline.build(case, format_of(backend, case.target), settings)
    with ExitStack() as stack:
        sessions = pipeline.sessions(case, backend, artifact, settings)
        for each in sessions:
            stack.callback(each.close)
            pipeline.placed(each, case)
        dispatch = stack.enter_context(load.dispatched(sessions, asked.depth))
        yield Encoder(case=case, artifact=artifact, dispatch=dispatch, clients=cycle(dispatch.clients))
        for each in sessions:
            pipeline.placed(each, case)
