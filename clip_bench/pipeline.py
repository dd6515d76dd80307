"""The story on one page: how a cell is built, loaded, judged and recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip_bench import graphs, machine
from clip_bench.backends import (
    Arrays,
    Backend,
    Found,
    Options,
    Placement,
    Session,
    format_of,
    found,
    setting_of,
)
from clip_bench.data import Samples, folders, generated
from clip_bench.errors import PlacementError, UnavailableError
from clip_bench.graphs import Calibration, Graph, replay
from clip_bench.matrix import no_reference
from clip_bench.models import feeds as feeding
from clip_bench.models import reference as referring
from clip_bench.models import towers
from clip_bench.models.feeds import Feeds
from clip_bench.models.reference import Reference
from clip_bench.models.weights import Source
from clip_bench.quality import gates, metrics, noise, scores
from clip_bench.record import ArtifactFacts, Boundary, Cold, Executed, Quality, Record, Score, Timing
from clip_bench.settings import SAMPLES, Settings
from clip_bench.specs import Case, Device, Format, ModelSpec, Tower
from clip_bench.store import Artifact, Store
from clip_bench.timing import latency, memory

EMBEDDED_SAMPLES = 500  # of each kind: MLPerf's 99 % rule needs as many to tell one point
CALIBRATION_SAMPLES = 300  # as many as the largest published recipe takes
CALIBRATION_SCENES = 450  # a third shows one object, whose name is a prompt: that leaves as many texts as pictures
WARM_UPS = 10
ROTATED = 8  # samples that the timed calls take in turn
INSIDE_CLOCK = ("host to device", "inference", "device to host")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A case ready to be judged and timed; ``level_bytes`` is the resident set before the load."""

    case: Case
    record: Record
    session: Session
    calls: Sequence[Arrays]
    level_bytes: int | None

    @property
    def rotated(self) -> Sequence[Arrays]:
        """The inputs that the timed calls take in turn."""
        return self.calls[:ROTATED]


def prepare(case: Case, backends: Mapping[str, Backend], settings: Settings) -> Prepared:
    """Build the artifact of *case* where none is, and load it on its target.

    Raises:
        UnavailableError: the device, the package or the weights are not on this machine.
        UnsupportedError: nobody can build this cell, or the runtime refuses it.
        PlacementError: the runtime says that it chose another device.
    """
    backend, settings = backends[case.target.backend], scoped(settings, case)
    here = found(backend, settings.by_name).get(case.target, Found())
    if reason := here.missing or no_reference():
        raise UnavailableError(reason)
    source(settings, case.model).sha256()  # weights that are not here are told before any work is done
    fed, reference = feeds(settings, case.model), reference_of(settings, case.model)
    artifact = build(case, format_of(backend, case.target), settings)
    level = memory.reset()
    began = time.perf_counter()
    options = Options(
        precision=case.precision,
        threads=settings.threads,
        store=Store(settings.cache),
        variant=case.variant,
        settings=setting_of(case.target, settings.by_name),
    )
    session = backend.load(artifact, case.target, options)
    load_s = time.perf_counter() - began
    try:
        where = session.placement()
    except BaseException:
        session.close()
        raise
    boundary = _boundary(case, settings, artifact, reference, fed)
    record = replace(
        Record.empty(case),
        boundary=replace(boundary, options=_without_paths(where.options)),
        artifact=ArtifactFacts(size_bytes=artifact.size_bytes, sha256=artifact.sha256, key=artifact.key),
        executed=replace(_executed(where), device=here.device),
        cold=Cold(build_s=artifact.built_s, load_s=load_s, first_s=None, peak_bytes=None),
    )
    return Prepared(case=case, record=record, session=session, calls=fed.calls(case.tower), level_bytes=level)


def scoped(settings: Settings, case: Case) -> Settings:
    """*settings* with the number of samples that *case* is evaluated on: few where an inference takes seconds."""
    emulated = case.target.device is Device.EMULATED
    return replace(settings, samples=SAMPLES) if emulated and settings.samples is None else settings


def _executed(where: Placement) -> Executed:
    return Executed(nodes=dict(where.nodes), dtypes=dict(where.dtypes), note=where.note, asked=where.asked)


def _without_paths(options: Mapping[str, str]) -> dict[str, str]:
    """Of an absolute path its last part alone: it names the machine's owner, and no setting that compares."""
    return {key: Path(value).name if Path(value).is_absolute() else value for key, value in options.items()}


def build(case: Case, format: Format, settings: Settings) -> Artifact:  # noqa: A002  the house's word for it
    """The artifact of *case*: a graph at a precision, or for the null backend the reference's answers."""
    store = Store(settings.cache)
    if format is Format.REPLAY:
        fed, reference = feeds(settings, case.model), reference_of(settings, case.model)
        answers = reference.outputs(fed, case.tower)
        return replay.build(store, reference.artifact, case.tower, fed.calls(case.tower), answers)
    return graphs.build(graph_of(case, settings), case.precision, format)


def graph_of(case: Case, settings: Settings) -> Graph:
    """What a recipe makes the artifact of *case* from."""
    return Graph(
        source=source(settings, case.model),
        tower=case.tower,
        store=Store(settings.cache),
        calibration=lambda: calibration(settings, case.model),
        variant=case.variant,
        settings=setting_of(case.target, settings.by_name),
    )


def judge(prepared: Prepared, settings: Settings) -> Record:
    """Time the first call, run every evaluation sample, and hold the outputs against the reference.

    Raises:
        PlacementError: the work is done elsewhere than asked, or was after the first call.
    """
    case, session = prepared.case, prepared.session
    _placed(prepared)
    first, first_s = latency.first(session, prepared.calls[0])
    _placed(prepared)  # some tell, or move, only now
    answers = [first, *(session.run(call) for call in prepared.calls[1:])]
    outputs = {name: np.concatenate([answer[name] for answer in answers]) for name in first}
    cold, record = prepared.record.cold, prepared.record
    if record.executed is not None:
        record = replace(record, executed=replace(record.executed, first_output=_digest(first)))
    return replace(
        _still(prepared, record),
        cold=None if cold is None else replace(cold, first_s=first_s),
        quality=quality(case, settings, outputs),
    )


def timed(prepared: Prepared, judged: Record, timing: Timing) -> Record:
    """*judged* with its timing, and the peak of memory that the cell reached.

    Raises:
        PlacementError: the device is not the one that gave the first output.
    """
    cold = judged.cold
    peak = memory.growth_bytes(prepared.level_bytes)
    same = _still(prepared, judged)
    return replace(same, timing=timing, cold=None if cold is None else replace(cold, peak_bytes=peak))


def _placed(prepared: Prepared) -> Placement:
    """Where the session runs by now.

    Raises:
        PlacementError: elsewhere than asked, or in a narrower type.
    """
    where = prepared.session.placement()
    if fault := where.fault(prepared.case.precision):
        raise PlacementError(fault)
    return where


def _still(prepared: Prepared, record: Record) -> Record:
    """*record* with where the session runs by now, if that is where it ran in the first call.

    A runtime whose outputs vary from call to call tells nothing by them; one that repeats itself, but not its first
    output, runs on another device, or other kernels, than at first.

    Raises:
        PlacementError: the work is done elsewhere than asked, or was.
    """
    before, where = record.executed, _placed(prepared)
    again, last = (_digest(prepared.session.run(prepared.calls[0])) for _ in range(2))
    first = before.first_output if before else ""
    if first and again == last != first:
        msg = "one input gave another output in the first call than it gives now: another device, or other kernels"
        raise PlacementError(msg)
    note = "; ".join(filter(None, (where.note, "outputs vary from call to call" if again != last else "")))
    device = before.device if before else ""
    now = replace(_executed(where), note=note, device=device, first_output=first, last_output=last)
    return replace(record, executed=now)


def _digest(outputs: Arrays) -> str:
    """A short hash of names, types and bits."""
    parts = [f"{name} {rows.dtype} {rows.shape}".encode() + rows.tobytes() for name, rows in sorted(outputs.items())]
    return sha256(b"".join(parts)).hexdigest()[:16]


def quality(case: Case, settings: Settings, outputs: Mapping[str, NDArray[np.generic]]) -> Quality:
    """What the gate says of *outputs*, stacked over the evaluation calls of *case*."""
    settings = scoped(settings, case)
    fed, reference = feeds(settings, case.model), reference_of(settings, case.model)
    expected = reference.outputs(fed, case.tower)
    drift = _noise(reference)
    floors = {name: drift[Tower.TEXT if name.startswith(Tower.TEXT) else Tower.IMAGE] for name in expected}
    whole = all(name in outputs and metrics.comparable(outputs[name], rows) for name, rows in expected.items())
    scored = _scores(case, fed, reference, outputs) if case.model.trained and whole else ()
    return gates.assess(case.precision, outputs, expected, floors, scored)


def _noise(reference: Reference) -> Mapping[Tower, noise.Noise]:
    found = {}
    for tower, rows in ((Tower.IMAGE, reference.image), (Tower.TEXT, reference.text)):
        others = {how: reference.others[f"{tower}_{how}"] for how in ("again", "batch", "threads")}
        found[tower] = noise.measure(rows[: len(others["again"])], **others)
    return found


def _scores(
    case: Case, fed: Feeds, reference: Reference, outputs: Mapping[str, NDArray[np.generic]]
) -> tuple[Score, ...]:
    expected = reference.outputs(fed, case.tower)
    if case.tower is Tower.PAIR:
        return scores.score_pair(outputs["logits"], expected["logits"], fed.answers)
    image = np.asarray(outputs.get("image_embedding", reference.image), np.float32)
    text = np.asarray(outputs.get("text_embedding", reference.text), np.float32)
    return scores.score_towers(
        scores.Embeddings(images=image, prompts=text[: fed.prompts], captions=text[fed.prompts :]),
        scores.Embeddings(
            images=reference.image, prompts=reference.text[: fed.prompts], captions=reference.text[fed.prompts :]
        ),
        labels=fed.labels,
        positives=fed.positives,
    )


def _boundary(case: Case, settings: Settings, artifact: Artifact, reference: Reference, fed: Feeds) -> Boundary:
    return Boundary(
        tower=case.tower,
        batch=1,
        texts=towers.PAIR_TEXTS if case.tower is Tower.PAIR else 0,
        sequence=0 if case.tower is Tower.IMAGE else case.model.context,
        image_size=0 if case.tower is Tower.TEXT else case.model.image_size,
        inside_clock=INSIDE_CLOCK,
        threads=settings.threads,
        weights_sha256=source(settings, case.model).sha256(),
        recipe=artifact.key,
        data_sha256=fed.sha256,
        reference_sha256=reference.artifact.sha256,
        runtimes=machine.runtimes(),
    )


@lru_cache(maxsize=1)
def source(settings: Settings, spec: ModelSpec) -> Source:
    """Where the weights of *spec* are; found, and fetched if need be, when asked for."""
    return Source(spec=spec, folder=settings.weights, store_root=settings.cache)


@lru_cache(maxsize=2)  # of a device, and of an emulator
def feeds(settings: Settings, spec: ModelSpec) -> Feeds:
    """What *spec* is evaluated on."""
    return feeding.make(spec, _samples(settings, spec)[1])


@lru_cache(maxsize=2)  # of a device, and of an emulator
def reference_of(settings: Settings, spec: ModelSpec) -> Reference:
    """The FP32 embeddings of what *spec* is evaluated on."""
    return referring.make(source(settings, spec), feeds(settings, spec), Store(settings.cache), settings.threads)


@lru_cache(maxsize=1)
def calibration(settings: Settings, spec: ModelSpec) -> Calibration:
    """What *spec* is calibrated on: never a picture or a text that it is evaluated on.

    Nor one that it would be evaluated on by default: a device and its emulator, which takes fewer samples, run one graph.
    Pictures whose caption serves come first, in the captions' order, so that a pair is calibrated on right answers
    too. Pictures without captions, such as class folders, lend no text: then the scenes' captions serve.
    """
    chosen = _samples(settings, spec)[0]
    sets = {settings, replace(settings, samples=None)}
    seen = {row.tobytes() for each in sets for row in feeds(each, spec).tokens}
    image = feeding.images(spec, chosen)
    texts = [captions[0] if captions else "" for captions in chosen.captions]
    if not any(texts):
        texts = [captions[0] for captions in generated.calibration(CALIBRATION_SCENES, 1).captions]
    rows = feeding.tokens(spec, texts)
    fresh = [i for i, row in enumerate(rows) if texts[i] and row.tobytes() not in seen]
    tokens, first = rows[fresh], [i for i in fresh if i < len(image)]
    image = image[first + sorted(set(range(len(image))) - set(first))]
    return Calibration(image=image, tokens=tokens, sha256=feeding.digest([image, tokens]))


@lru_cache(maxsize=2)  # of a device, and of an emulator
def _samples(settings: Settings, spec: ModelSpec) -> tuple[Samples, Samples]:
    """Calibration and evaluation samples, disjoint: your own data by path, else generated scenes."""
    size, n = spec.image_size, settings.samples or SAMPLES
    if settings.data is not None:
        found = folders.read(settings.data)
        if found.problems:
            _log.warning("%s: %d left out: %s", settings.data, len(found.problems), "; ".join(found.problems))
        return folders.split(found, CALIBRATION_SAMPLES, n)
    chosen = generated.calibration(CALIBRATION_SCENES, size)
    if spec.weights.kind == "embedded" and settings.samples is None:
        return chosen, generated.evaluation(EMBEDDED_SAMPLES, EMBEDDED_SAMPLES, size)
    if not spec.trained:
        return chosen, generated.evaluation(0, n, size)
    return chosen, generated.evaluation(n // 2, n - n // 2, size)
