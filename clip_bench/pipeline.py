"""The story on one page: how a cell is built, loaded, judged, timed and recorded."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench import boundary, execution, loading, memory
from clip_bench.backends import Arrays, Backend, Session, format_of
from clip_bench.change import Change
from clip_bench.evaluation import UNCHANGED, calls, feeds, misfed, quality, reference_of, scoped, source, unseen, usual
from clip_bench.memory import Step
from clip_bench.record import ArtifactFacts, Cold, Record, Timing
from clip_bench.settings import Settings
from clip_bench.specs import BASELINE, Case, Format, Inputs, Pattern, Precision, Tower, Variant
from clip_bench.store import Artifact
from clip_bench.timing import conditions, energy, latency, load, nvml, paired, steady

WARM_UPS = 10
ROTATED = 8  # samples that the timed calls take in turn
GROUPS = 12  # of blocks: six more make an interval no narrower than the machine's noise
# What the calls of a block take together, within these numbers of calls. At its start the other arm's data are in the
# caches, and its idle threads still spin: the first five calls of 2 ms each took 230, 11, 193, 5 and 11 % more.
UNCOUNTED_S, UNCOUNTED = 0.01, (2, 5)
COUNTED_S, COUNTED = 0.02, (3, 25)
SHOWN_CALLS = 64  # of the first ones, whose seconds the record keeps

_steps = logging.getLogger("clip_bench.steps")  # gets a word at the begin of each: for who shows where a cell is


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A case ready to be judged and timed.

    ``calls`` are those of its evaluation, of so many ``samples``, each as long as its own texts where they are trimmed;
    ``others`` are the instances beside the first one. ``artifact`` is what they loaded: as long as it is held, no other
    process prunes it from the cache. ``change`` is what is wrong with it: nothing, but for a saboteur's.
    """

    case: Case
    record: Record
    session: Session
    calls: Sequence[Arrays]
    samples: int
    watch: memory.Watch
    artifact: Artifact | None = None
    others: Sequence[Session] = ()
    change: Change = UNCHANGED

    @property
    def rotated(self) -> Sequence[Arrays]:
        """The inputs that the timed calls take in turn: all of one length, that of most calls."""
        return usual(self.calls)[:ROTATED]

    @property
    def sessions(self) -> Sequence[Session]:
        """Every instance, the first one first."""
        return (self.session, *self.others)

    def close(self) -> None:
        """Release every instance."""
        for each in self.sessions:
            each.close()


def prepare(case: Case, backends: Mapping[str, Backend], settings: Settings, change: Change = UNCHANGED) -> Prepared:
    """Build the artifact of *case* where none is, with a saboteur's *change* if there is one, and load it on its target.

    Raises:
        UnavailableError: the device, the package or the weights are not on this machine.
        UnsupportedError: nobody can build this cell, or the runtime refuses it.
        PlacementError: the runtime says that it chose another device.
    """
    backend, settings = backends[case.target.backend], scoped(settings, case)
    here = loading.here(case, backend, settings)
    spent = Spent()
    with spent.on("building"):
        source(settings, case.model).sha256()  # weights that are not here are told before any work is done
        fed, _ = feeds(settings, case.model), reference_of(settings, case.model)
        artifact = loading.build(case, format_of(backend, case.target), settings, change)
        asked = calls(settings, case, change)
    with spent.on("importing"):
        steps = [*loading.imported(getattr(backend, "IMPORTS", "")), *artifact.steps]
    import_module("ruptures")  # the change-points', and scipy with it: none of the memory that is watched from here on
    watch = memory.Watch.start()
    with spent.on("loading"):
        first, *others = loading.sessions(case, backend, artifact, settings)
    try:
        where = first.placement()
    except BaseException:
        for each in (first, *others):
            each.close()
        raise
    stands_on, load_s = boundary.of(case, settings, artifact, asked, where.options), spent.seconds["loading"]
    steps.append(Step(name="load", seconds=load_s, peak_bytes=watch.lap()))
    record = replace(
        Record.empty(case),
        boundary=stands_on,
        artifact=ArtifactFacts(size_bytes=artifact.size_bytes, sha256=artifact.sha256, key=artifact.key),
        executed=replace(execution.evidence(where), device=here.device),
        cold=Cold(build_s=artifact.built_s, load_s=load_s, first_s=None, peak_bytes=None, steps=tuple(steps)),
        work=boundary.work(case, asked),
        spent_s=spent.seconds,
    )
    return Prepared(
        case=case,
        record=record,
        session=first,
        others=others,
        calls=asked,
        samples=len(fed.tokens if case.tower is Tower.TEXT else fed.image),
        watch=watch,
        artifact=artifact,
        change=change,
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """Where a cell's own seconds go, by what for."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count the seconds of this block as spent on *what*, and tell its begin."""
        _steps.debug("%s", what)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - began


def judge(prepared: Prepared, settings: Settings) -> Record:
    """Time the first calls, run every evaluation sample, and hold the outputs against the reference.

    Raises:
        PlacementError: the work is done elsewhere than asked, or was after the first call.
    """
    return held(prepared, *answered(prepared), settings)


def answered(prepared: Prepared) -> tuple[Record, Mapping[str, NDArray[Any]]]:
    """The record with the times of the first calls, and what every evaluation sample was answered, by output name.

    Raises:
        PlacementError: the work is done elsewhere than asked.
    """
    case, session, spent = prepared.case, prepared.session, Spent(dict(prepared.record.spent_s))
    execution.placed(session, case)
    with spent.on("calling"):
        first, first_s = latency.once(session, prepared.calls[0])
    step = Step(name="first", seconds=first_s, peak_bytes=prepared.watch.lap())
    execution.placed(session, case)  # some tell, or move, only now
    with spent.on("calling"):
        rest = [latency.once(session, call) for call in prepared.calls[1:]]
        answers, calls_s = [first, *(outputs for outputs, _ in rest)], [first_s, *(seconds for _, seconds in rest)]
        rows = None if case.variant.batch == 1 else prepared.samples  # the last call may be filled up
        outputs = {name: np.concatenate([answer[name] for answer in answers])[:rows] for name in first}
    cold, executed = prepared.record.cold, prepared.record.executed
    if cold is not None:
        cold = replace(cold, first_s=first_s, steps=(*cold.steps, step))
        cold = replace(cold, calls_s=tuple(calls_s[:SHOWN_CALLS]), steady=steady.steady(calls_s))
    if executed is not None:
        fed, given = execution.digest(*prepared.calls), execution.digest(outputs)
        executed = replace(executed, inputs=fed, outputs=given, first_output=execution.digest(first))
    return replace(prepared.record, cold=cold, executed=executed, spent_s=spent.seconds), outputs


def held(prepared: Prepared, record: Record, outputs: Mapping[str, NDArray[Any]], settings: Settings) -> Record:
    """*record* with what the gate says of *outputs*, of what was fed, and of where the session runs by now.

    Raises:
        PlacementError: the work is not done where it was in the first call.
    """
    spent = Spent(dict(record.spent_s))
    with spent.on("calling"):
        record = _still(prepared, record)
    with spent.on("gating"):
        judged = quality(prepared.case, settings, outputs)
        wrong = misfed(settings, prepared.case, prepared.calls, prepared.change)
        judged = replace(judged, failures=(*judged.failures, *wrong))
    return replace(record, quality=judged, spent_s=spent.seconds)


def timed(prepared: Prepared, judged: Record, benchmark: latency.Benchmark, settings: Settings) -> Record:
    """*judged* with its timing, and the peak of memory that the cell reached.

    Raises:
        PlacementError: the device is not the one that gave the first output.
    """
    spent = Spent(dict(judged.spent_s))
    gpus = prepared.case.variant.load.device_ids if nvml.serves(prepared.case.target) else ()
    with spent.on("timing"):
        before, begun = conditions.snapshot(gpus=gpus), energy.begin(prepared.case.target, gpus=gpus or (0,))
        timing, outputs = _timing(prepared, benchmark, settings)
        used, after = energy.end(begun), conditions.snapshot(gpus=gpus)
        timing = replace(timing, energy=used, conditions=conditions.between(before, after))
    prepared.watch.lap()
    with spent.on("calling"):
        judged = _still(prepared, judged)
        failures = execution.changed(prepared.case, prepared.session, prepared.rotated, outputs)
    if judged.cold is not None:
        judged = replace(judged, cold=replace(judged.cold, peak_bytes=prepared.watch.highest))
    if judged.quality is not None and failures:
        judged = replace(judged, quality=replace(judged.quality, failures=(*judged.quality.failures, *failures)))
    return replace(judged, timing=None if failures else timing, spent_s=spent.seconds)


def _timing(
    prepared: Prepared, benchmark: latency.Benchmark, settings: Settings
) -> tuple[Timing, Sequence[Arrays | None]]:
    """The rounds of a cell under its load, and what was answered last to each of its inputs, where it is kept."""
    asked = prepared.case.variant.load
    fresh = asked.inputs is Inputs.FRESH
    if asked.pattern is Pattern.LATENCY:
        before = [prepared.session.run(call) for call in prepared.rotated]
        timing = latency.measure(
            benchmark, prepared.session, prepared.rotated, fresh=fresh, warmups=WARM_UPS, rounds=settings.rounds
        )
        return timing, before
    window = load.measure(
        benchmark,
        (prepared.session, *prepared.others),
        prepared.rotated,
        fresh=fresh,
        under_way=asked.depth * len(asked.device_ids),
        warmups=WARM_UPS,
        rounds=settings.rounds,
    )
    return window.timing, window.outputs


def interleaved(prepared: Prepared, judged: Record, backends: Mapping[str, Backend], settings: Settings) -> Record:
    """*judged* with blocks of this cell and of PyTorch FP32 on the CPU in turns; as it is where that says nothing.

    That is of the reference cell itself, of a cell without a time of one request at a time, and of one that answers
    only what it was asked before.
    """
    case, spent = prepared.case, Spent(dict(judged.spent_s))
    alike = Variant(batch=case.variant.batch, rewrites=tuple(each for each in case.variant.rewrites if each.feeds))
    reference = replace(case, target=BASELINE, precision=Precision.FP32, variant=alike)
    replayed = format_of(backends[case.target.backend], case.target) is Format.REPLAY
    alone = case.variant.load.pattern is Pattern.LATENCY
    if case == reference or replayed or not alone or judged.timing is None:
        return judged
    call_s = np.median(judged.timing.rounds_s)
    with spent.on("pairing"):
        backend = backends[BASELINE.backend]
        artifact = loading.build(reference, format_of(backend, BASELINE), settings)
        (other,) = loading.sessions(reference, backend, artifact, settings)
        try:
            blocks = paired.measure(
                reference.id,
                paired.Side(session=other, unseen=unseen(settings, reference, seed=1)),
                paired.Side(session=prepared.session, unseen=unseen(settings, case, seed=2)),
                prepared.rotated[0],
                groups=GROUPS,
                counted=int(np.clip(COUNTED_S / call_s, *COUNTED)),
                uncounted=int(np.clip(UNCOUNTED_S / call_s, *UNCOUNTED)),
                seed=zlib.crc32(case.id.encode()),
            )
        finally:
            other.close()
    return replace(judged, paired=blocks, spent_s=spent.seconds)


def _still(prepared: Prepared, record: Record) -> Record:
    """*record* with where the cell runs by now; raises as :func:`execution.still` does."""
    executed = execution.still(prepared.case, prepared.sessions, prepared.calls[0], record.executed)
    return replace(record, executed=executed)
