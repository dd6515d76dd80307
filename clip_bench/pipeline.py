"""The story on one page: how a cell is built, loaded, judged, timed and recorded."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench import graphs, machine, memory
from clip_bench.backends import Arrays, Backend, Found, Options, Placement, Session, format_of, found, setting_of
from clip_bench.change import Change
from clip_bench.errors import PlacementError, UnavailableError
from clip_bench.evaluation import (
    UNCHANGED,
    calibration,
    calls,
    feeds,
    misfed,
    quality,
    reference_of,
    scoped,
    source,
    unseen,
    usual,
)
from clip_bench.graphs import Graph, replay
from clip_bench.matrix import no_reference
from clip_bench.memory import Step
from clip_bench.models import towers, weights
from clip_bench.models.feeds import Feeds
from clip_bench.models.reference import Reference
from clip_bench.quality import gates, metrics
from clip_bench.quality.gates import Failure, Gate
from clip_bench.record import ArtifactFacts, Boundary, Cold, Executed, Record, Timing, Work
from clip_bench.settings import Settings
from clip_bench.specs import BASELINE, Case, Device, Format, Inputs, Pattern, Precision, Rewrite, Tower, Variant
from clip_bench.store import Artifact, Store
from clip_bench.timing import conditions, energy, latency, lessened, load, nvml, paired, roofline, steady

WARM_UPS = 10
ROTATED = 8  # samples that the timed calls take in turn
GROUPS = 12  # of blocks: six more make an interval no narrower than the machine's noise
# What the calls of a block take together, within these numbers of calls. At its start the other arm's data are in the
# caches, and its idle threads still spin: the first five calls of 2 ms each took 230, 11, 193, 5 and 11 % more.
UNCOUNTED_S, UNCOUNTED = 0.01, (2, 5)
COUNTED_S, COUNTED = 0.02, (3, 25)
SHOWN_CALLS = 64  # of the first ones, whose seconds the record keeps
INSIDE_CLOCK = ("host to device", "inference", "device to host")

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

    def close(self) -> None:
        """Release every instance."""
        for each in (self.session, *self.others):
            each.close()


def prepare(case: Case, backends: Mapping[str, Backend], settings: Settings, change: Change = UNCHANGED) -> Prepared:
    """Build the artifact of *case* where none is, with a saboteur's *change* if there is one, and load it on its target.

    Raises:
        UnavailableError: the device, the package or the weights are not on this machine.
        UnsupportedError: nobody can build this cell, or the runtime refuses it.
        PlacementError: the runtime says that it chose another device.
    """
    backend, settings = backends[case.target.backend], scoped(settings, case)
    here = _here(case, backend, settings)
    spent = Spent()
    with spent.on("building"):
        source(settings, case.model).sha256()  # weights that are not here are told before any work is done
        fed, reference = feeds(settings, case.model), reference_of(settings, case.model)
        artifact = build(case, format_of(backend, case.target), settings, change)
        asked = calls(settings, case, change)
    with spent.on("importing"):
        steps = [*_imported(getattr(backend, "IMPORTS", "")), *artifact.steps]
    import_module("ruptures")  # the change-points', and scipy with it: none of the memory that is watched from here on
    watch = memory.Watch.start()
    with spent.on("loading"):
        first, *others = sessions(case, backend, artifact, settings)
    try:
        where = first.placement()
    except BaseException:
        for each in (first, *others):
            each.close()
        raise
    boundary = _boundary(case, settings, artifact, reference, fed, asked)
    load_s = spent.seconds["loading"]
    steps.append(Step(name="load", seconds=load_s, peak_bytes=watch.lap()))
    record = replace(
        Record.empty(case),
        boundary=replace(boundary, options=_without_paths(where.options)),
        artifact=ArtifactFacts(size_bytes=artifact.size_bytes, sha256=artifact.sha256, key=artifact.key),
        executed=replace(_executed(where), device=here.device),
        cold=Cold(build_s=artifact.built_s, load_s=load_s, first_s=None, peak_bytes=None, steps=tuple(steps)),
        work=_work(case, asked),
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


def _here(case: Case, backend: Backend, settings: Settings) -> Found:
    """What this machine has of the target of *case*.

    Raises:
        UnavailableError: not all that it takes.
    """
    here = found(backend, settings.by_name).get(case.target, Found())
    if reason := here.missing or no_reference():
        raise UnavailableError(reason)
    if case.target.device is Device.CPU and case.variant.load.instances > settings.threads:
        msg = f"{case.variant.load.instances} instances share {settings.threads} threads: each needs one (--threads)"
        raise UnavailableError(msg)
    if case.variant.load.device_ids != (0,) and case.target not in getattr(backend, "NUMBERED", ()):
        msg = f"{case.target} is one device: leave --device-ids out"
        raise UnavailableError(msg)
    return here


def sessions(case: Case, backend: Backend, artifact: Artifact, settings: Settings) -> list[Session]:
    """Every instance of *case*: one session for each, or for each device where the runtime holds several in one.

    Instances share the threads of the run; a runtime that holds them divides these itself.
    """
    asked = case.variant.load
    held = case.target in getattr(backend, "QUEUED", ())
    options = Options(
        precision=case.precision,
        threads=settings.threads if held else max(1, settings.threads // asked.instances),
        store=Store(settings.cache),
        variant=case.variant,
        settings=setting_of(case.target, settings.by_name),
        instances=asked.instances if held else 1,
        depth=asked.depth,
    )
    numbers = [None] if asked.device_ids == (0,) else asked.device_ids
    with ExitStack() as stack:
        found = []
        for number in numbers:
            for _ in range(1 if held else asked.instances):
                found.append(backend.load(artifact, case.target, replace(options, device_id=number)))
                stack.callback(found[-1].close)
        stack.pop_all()
    return found


@lru_cache
def _imported(module: str) -> tuple[Step, ...]:
    """What the import of a runtime's *module* takes a fresh process, whose files the system may have read before."""
    if not module:
        return ()
    code = "import time; from clip_bench import memory; w = memory.Watch.start(); t = time.perf_counter(); "
    code += f"import {module}; print(time.perf_counter() - t, w.lap())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603  ourselves
    if told.returncode:
        return ()
    seconds, peak = told.stdout.split()[-2:]
    return (Step(name="import", seconds=float(seconds), peak_bytes=None if peak == "None" else int(peak)),)


def _executed(where: Placement) -> Executed:
    return Executed(
        nodes=dict(where.nodes),
        dtypes=dict(where.dtypes),
        note=where.note,
        asked=where.asked,
        first_call_s={place: dict(seconds) for place, seconds in where.first_call_s.items()},
        flags=dict(where.flags),
    )


def _without_paths(options: Mapping[str, str]) -> dict[str, str]:
    """Of an absolute path its last part alone: it names the machine's owner, and no setting that compares."""
    return {key: Path(value).name if Path(value).is_absolute() else value for key, value in options.items()}


def build(
    case: Case,
    format: Format,  # noqa: A002  the house's word for it
    settings: Settings,
    change: Change = UNCHANGED,
) -> Artifact:
    """The artifact of *case*: a graph at a precision, or for the null backend the reference's answers."""
    store = Store(settings.cache)
    if format is Format.REPLAY:
        fed, reference = feeds(settings, case.model), reference_of(settings, case.model)
        answers = reference.outputs(fed, case.tower)
        return replay.build(store, reference.artifact, case.tower, calls(settings, case), answers)
    return graphs.build(graph_of(case, settings, change), case.precision, format)


def graph_of(case: Case, settings: Settings, change: Change = UNCHANGED) -> Graph:
    """What a recipe makes the artifact of *case* from."""
    return Graph(
        source=change.source(source(settings, case.model)),
        mask=change.mask,
        tower=case.tower,
        batch=case.variant.batch,
        store=Store(settings.cache),
        calibration=lambda: calibration(settings, case.model),
        variant=case.variant,
        settings=setting_of(case.target, settings.by_name),
    )


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
    placed(session, case)
    with spent.on("calling"):
        first, first_s = latency.once(session, prepared.calls[0])
    step = Step(name="first", seconds=first_s, peak_bytes=prepared.watch.lap())
    placed(session, case)  # some tell, or move, only now
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
        fed, given = _digest(*prepared.calls), _digest(outputs)
        executed = replace(executed, inputs=fed, outputs=given, first_output=_digest(first))
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
        failures = _changed(prepared, outputs)
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
        artifact = build(reference, format_of(backend, BASELINE), settings)
        (other,) = sessions(reference, backend, artifact, settings)
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


def _changed(prepared: Prepared, outputs: Sequence[Arrays | None]) -> tuple[Failure, ...]:
    """How what was answered under the load, or before the timed calls, differs from what one request is answered now."""
    floor = gates.FLOORS[prepared.case.precision].minimum
    alone = prepared.case.variant.load.pattern is Pattern.LATENCY
    worst: dict[str, float] = {}
    for call, then in zip(prepared.rotated, outputs, strict=False):
        if then is not None:
            for name, rows in prepared.session.run(call).items():
                worst[name] = min(worst.get(name, 1.0), _cosine(then[name], rows))
    when = "after the timed calls a sample has" if alone else "under this load a sample has"
    what = "its own answer before them" if alone else "its own answer alone"
    return tuple(
        Failure(f"{name}: {when} a cosine of {cosine:.4f} with {what}, under {floor}", Gate.REPEATED)
        for name, cosine in worst.items()
        if cosine < floor
    )


def _cosine(loaded: NDArray[Any], alone: NDArray[Any]) -> float:
    """The least cosine of a row with the same row; 0 where the arrays are unlike."""
    return float(metrics.cosine(loaded, alone).min()) if metrics.comparable(loaded, alone) else 0.0


def _work(case: Case, asked: Sequence[Arrays]) -> Work | None:
    """What one timed call of *case* has to do at least; None where its model has no closed form."""
    config = weights.config(case.model)
    if config is None:
        return None
    return lessened.work(
        roofline.architecture(config),
        case.tower,
        case.precision,
        case.variant.rewrites,
        tokens=max(_lengths(usual(asked)), default=0),
        batch=case.variant.batch,
        texts=towers.PAIR_TEXTS,
    )


def _lengths(asked: Sequence[Arrays]) -> tuple[int, ...]:
    """The tokens of each of *asked*; empty where there is no text."""
    return tuple(call["tokens"].shape[1] for call in asked if "tokens" in call)


def placed(session: Session, case: Case) -> Placement:
    """Where *session* runs by now.

    Raises:
        PlacementError: elsewhere than asked, or in a narrower type.
    """
    where = session.placement()
    if fault := where.fault(case.precision):
        raise PlacementError(fault)
    return where


def _still(prepared: Prepared, record: Record) -> Record:
    """*record* with where the session runs by now, if that is where it ran in the first call.

    A runtime whose outputs vary from call to call tells nothing by them; one that repeats itself, but not its first
    output, runs on another device, or other kernels, than at first.

    Raises:
        PlacementError: the work is done elsewhere than asked, or was.
    """
    where = placed(prepared.session, prepared.case)
    for other in prepared.others:
        placed(other, prepared.case)
    again, last = (_digest(prepared.session.run(prepared.calls[0])) for _ in range(2))
    before = record.executed or _executed(where)
    if before.first_output and again == last != before.first_output:
        msg = "one input gave another output in the first call than it gives now: another device, or other kernels"
        raise PlacementError(Failure(msg, Gate.REPEATED))
    now = _executed(where)
    note = "; ".join(filter(None, (now.note, "outputs vary from call to call" if again != last else "")))
    told = replace(before, nodes=now.nodes, dtypes=now.dtypes, first_call_s=now.first_call_s, asked=now.asked)
    return replace(record, executed=replace(told, note=note, last_output=last))


def _digest(*several: Arrays) -> str:
    """A short hash of names, types and bits."""
    found = sha256()
    for arrays in several:
        for name, rows in sorted(arrays.items()):
            found.update(f"{name} {rows.dtype} {rows.shape}".encode())
            found.update(rows.tobytes())
    return found.hexdigest()[:16]


def _boundary(
    case: Case, settings: Settings, artifact: Artifact, reference: Reference, fed: Feeds, given: Sequence[Arrays]
) -> Boundary:
    asked, rewrites, lengths = case.variant.load, case.variant.rewrites, sorted(set(_lengths(given)))
    copied = ("copy of the inputs",) if asked.inputs is Inputs.FRESH else ()
    return Boundary(
        tower=case.tower,
        batch=case.variant.batch,
        texts=towers.PAIR_TEXTS if case.tower is Tower.PAIR else 0,
        sequence=max(_lengths(usual(given)), default=0),
        image_size=0 if case.tower is Tower.TEXT else case.model.image_size,
        inside_clock=(*copied, *INSIDE_CLOCK),
        threads=settings.threads,
        weights_sha256=source(settings, case.model).sha256(),
        recipe=artifact.key,
        data_sha256=fed.sha256,
        reference_sha256=reference.artifact.sha256,
        runtimes=machine.runtimes(),
        load=asked.pattern,
        instances=asked.instances,
        device_ids=asked.device_ids,
        queue=asked.queue,
        inputs=asked.inputs,
        rewrites=tuple(map(str, rewrites)),
        lengths=tuple(lengths) if Rewrite.TRIMMED in rewrites else (),
        pixels="uint8" if Rewrite.FOLDED in rewrites else "float32",
    )
