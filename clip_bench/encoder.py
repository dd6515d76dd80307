"""A case in use: opened, and given work as fast as it takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench import backends, execution, loading
from clip_bench.backends import Arrays, format_of
from clip_bench.models import feeds
from clip_bench.models.towers import PAIR_TEXTS
from clip_bench.settings import Settings
from clip_bench.specs import Case, Load, ModelSpec, Pattern, Tower
from clip_bench.store import Artifact
from clip_bench.timing import load

QUEUE = 1  # more for each instance while it executes one

Rows = Iterable[NDArray[Any]]
Embed = Callable[[Rows], Iterator[NDArray[np.float32]]]  # what is used of an Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A case's sessions, all at work at once, on one *kind* of sample: :attr:`Tower.IMAGE` or :attr:`Tower.TEXT`."""

    case: Case
    kind: Tower
    artifact: Artifact
    dispatch: load.Dispatch
    clients: Iterator[load.Submit]

    @property
    def size(self) -> int:
        """Samples of a call; a pair's is always one picture with its texts."""
        if self.case.tower is Tower.PAIR:
            return PAIR_TEXTS if self.kind is Tower.TEXT else 1
        return self.case.variant.batch

    def __call__(self, rows: Rows) -> Iterator[NDArray[np.float32]]:
        """The embedding (width,) of each of *rows*, in order: pictures (3, h, w) as floats or pixels, or tokens (context,).

        Every call is full, but the last is filled up; as many are under way as keep the sessions busy, and no more rows
        are taken. What the runtime raises is raised here.
        """
        left, waiting = iter(rows), deque[tuple[Future[Arrays], int]]()
        while part := list(islice(left, self.size)):
            waiting.append((self._started(part), len(part)))
            if len(waiting) == len(self.dispatch.clients):
                yield from self._ended(*waiting.popleft())
        for each in waiting:
            yield from self._ended(*each)

    def _started(self, part: list[NDArray[Any]]) -> Future[Arrays]:
        own = np.stack([*part, *[part[0]] * (self.size - len(part))])
        blank = _blank(self.case.model) if self.case.tower is Tower.PAIR else {}
        call = {**blank, "image" if self.kind is Tower.IMAGE else "tokens": own}
        future: Future[Arrays] = Future()

        def done(outputs: Arrays | BaseException) -> None:
            if isinstance(outputs, BaseException):
                future.set_exception(outputs)
            else:
                future.set_result(outputs)

        next(self.clients)(feeds.shaped(call, self.case.variant.rewrites, self.case.model), done)
        return future

    def _ended(self, future: Future[Arrays], count: int) -> Iterator[NDArray[np.float32]]:
        while True:
            try:
                outputs = future.result(timeout=load.PATIENCE_S)
                break
            except TimeoutError:
                self.dispatch.wait()
        yield from np.asarray(outputs[f"{self.kind}_embedding"], np.float32)[:count]


def stacked(embeddings: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """All *embeddings* as rows, (n, width); (0, 0) of none."""
    rows = list(embeddings)
    return np.stack(rows) if rows else np.empty((0, 0), np.float32)


@contextmanager
def opened(case: Case, settings: Settings, *, batch: int, instances: int = 1) -> Iterator[Encoder]:
    """*case* loaded with *batch* samples in a call and *instances* of the model, each in threads of its own.

    A pair's call is always one picture with its texts. It takes pictures; :func:`dataclasses.replace` its ``kind`` for
    texts.

    Raises:
        UnavailableError: the device, the package or the weights are not on this machine.
        UnsupportedError: nobody can build this cell, or the runtime refuses it.
        PlacementError: it runs elsewhere than asked, at the beginning or at the end.
    """
    asked = Load(pattern=Pattern.THROUGHPUT, instances=instances, queue=QUEUE)
    batch = 1 if case.tower is Tower.PAIR else batch
    case = replace(case, variant=replace(case.variant, batch=batch, load=asked))
    backend = backends.discover()[case.target.backend]
    artifact = loading.build(case, format_of(backend, case.target), settings)
    with ExitStack() as stack:
        sessions = loading.sessions(case, backend, artifact, settings)
        for each in sessions:
            stack.callback(each.close)
            execution.placed(each, case)
        dispatch = stack.enter_context(load.dispatched(sessions, asked.depth))
        kind = Tower.TEXT if case.tower is Tower.TEXT else Tower.IMAGE
        yield Encoder(case=case, kind=kind, artifact=artifact, dispatch=dispatch, clients=cycle(dispatch.clients))
        for each in sessions:
            execution.placed(each, case)


def _blank(spec: ModelSpec) -> Arrays:
    """What a pair gets in the place of what is not asked about."""
    image = np.zeros((1, 3, spec.image_size, spec.image_size), np.float32)
    tokens = np.zeros((PAIR_TEXTS, spec.context), np.int64)
    tokens[:, 0] = 1  # argmax pooling wants one largest id
    return {"image": image, "tokens": tokens}
