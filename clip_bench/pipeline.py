"""The story on one page: which cells there are, and how one is built, loaded, judged and recorded."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from clip_bench import graphs, machine
from clip_bench.backends import Arrays, Backend, Options, Session, format_of, missing, variants_of
from clip_bench.data import Samples, folders, generated
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.graphs import Calibration, Graph, replay
from clip_bench.models import catalog, towers, weights
from clip_bench.models import feeds as feeding
from clip_bench.models import reference as referring
from clip_bench.models.feeds import Feeds
from clip_bench.models.reference import Reference
from clip_bench.models.weights import Source
from clip_bench.quality import gates, metrics, noise, scores
from clip_bench.record import ArtifactFacts, Boundary, Cold, Executed, Quality, Record, Score, Timing
from clip_bench.settings import DEFAULT_MODELS, Settings
from clip_bench.specs import Case, Format, ModelSpec, Precision, Tower, Variant
from clip_bench.store import Artifact, Store
from clip_bench.timing import latency, memory

EMBEDDED_SAMPLES = 500  # of each kind: MLPerf's 99 % rule needs as many to tell one point
CALIBRATION_SAMPLES = 128
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


def models(settings: Settings) -> list[ModelSpec]:
    """The models that a run is about: those named, else every one with ``--full``, else the default two.

    Raises:
        UsageError: no such model, or two that a cell's id would not tell apart.
    """
    if settings.models:
        chosen = list(dict.fromkeys(catalog.find(name) for name in settings.models))
        for name, count in Counter(spec.name for spec in chosen).items():
            if count > 1:
                msg = f"{count} of the models given would be called {name}; rename a weights file, or run one at a time"
                raise UsageError(msg)
        return chosen
    return [spec for name, spec in catalog.MODELS.items() if settings.full or name in DEFAULT_MODELS]


def matrix(settings: Settings, backends: Mapping[str, Backend]) -> Iterator[Case]:
    """Every cell that some machine could run, the same on every machine, in a stable order.

    Raises:
        UsageError: a model cannot be used, or a backend offers a target that is not its own.
    """
    for name, backend in backends.items():
        if strange := [str(target) for target in backend.TARGETS if target.backend != name]:
            msg = f"the backend {name} offers targets of another name, {', '.join(strange)}; mend or uninstall it"
            raise UsageError(msg)
    for spec in models(settings):
        for tower in Tower:
            for backend in backends.values():
                for target, precisions in backend.TARGETS.items():
                    offered = {Variant(): precisions, **variants_of(backend, target)}
                    for variant, allowed in offered.items():
                        for precision in (p for p in Precision if p in allowed):
                            case = Case(model=spec, tower=tower, target=target, precision=precision, variant=variant)
                            if settings.full or not _heavy(case):
                                yield case


def _heavy(case: Case) -> bool:
    """Minutes for one cell of a full-size model, so only with ``--full``."""
    costly = case.tower is Tower.PAIR or case.precision is Precision.A16W8 or case.variant != Variant()
    return costly and case.model.weights.kind != "embedded"


def lacking(settings: Settings, backends: Mapping[str, Backend]) -> Callable[[Case], str]:
    """A function that says what this machine lacks to run a case, as far as is known without loading it.

    Each backend is asked once; empty means that nothing is missing.
    """
    absent = {target: reason for backend in backends.values() for target, reason in (missing(backend) or {}).items()}
    return lambda case: absent.get(case.target, "") or _no_reference() or weights.here(case.model, settings.weights)


def _no_reference() -> str:
    """What the FP32 reference lacks, which every cell is held against; empty where it can be computed."""
    return (
        "" if find_spec("open_clip") else "the reference needs PyTorch and open_clip: pip install 'clip-bench[torch]'"
    )


def prepare(case: Case, backends: Mapping[str, Backend], settings: Settings) -> Prepared:
    """Build the artifact of *case* where none is, and load it on its target.

    Raises:
        UnavailableError: the device, the package or the weights are not on this machine.
        UnsupportedError: nobody can build this cell, or the runtime refuses it.
        PlacementError: the runtime chose another device.
    """
    backend = backends[case.target.backend]
    if reason := (missing(backend) or {}).get(case.target, "") or _no_reference():
        raise UnavailableError(reason)
    source(settings, case.model).sha256()  # weights that are not here are told before any work is done
    fed, reference = feeds(settings, case.model), reference_of(settings, case.model)
    artifact = build(case, format_of(backend), settings)
    level = memory.reset()
    began = time.perf_counter()
    options = Options(precision=case.precision, threads=settings.threads, variant=case.variant)
    session = backend.load(artifact, case.target, options)
    load_s = time.perf_counter() - began
    try:
        where = session.placement()
    except BaseException:
        session.close()
        raise
    record = replace(
        empty(case),
        boundary=_boundary(case, settings, artifact, reference, fed),
        artifact=ArtifactFacts(size_bytes=artifact.size_bytes, sha256=artifact.sha256, key=artifact.key),
        executed=Executed(nodes=dict(where.nodes), dtypes=dict(where.dtypes), note=where.note),
        cold=Cold(build_s=artifact.built_s, load_s=load_s, first_s=None, peak_bytes=None),
    )
    return Prepared(case=case, record=record, session=session, calls=fed.calls(case.tower), level_bytes=level)


def empty(case: Case) -> Record:
    """The record of a case of which nothing is measured yet."""
    return Record(
        case=case.id,
        tower=case.tower,
        model=case.model.name,
        target=str(case.target),
        precision=case.precision,
        variant=str(case.variant),
        weights=case.model.weights.kind,
    )


def build(case: Case, format: Format, settings: Settings) -> Artifact:  # noqa: A002  the house's word for it
    """The artifact of *case*: a graph at a precision, or for the null backend the reference's answers."""
    store = Store(settings.cache)
    if format is Format.REPLAY:
        fed, reference = feeds(settings, case.model), reference_of(settings, case.model)
        answers = reference.outputs(fed, case.tower)
        return replay.build(store, reference.artifact, case.tower, fed.calls(case.tower), answers)
    graph = Graph(
        source=source(settings, case.model),
        tower=case.tower,
        store=store,
        calibration=lambda: calibration(settings, case.model),
    )
    return graphs.build(graph, case.precision, format)


def judge(prepared: Prepared, settings: Settings) -> Record:
    """Time the first call, run every evaluation sample, and hold the outputs against the reference."""
    case, session = prepared.case, prepared.session
    first, first_s = latency.first(session, prepared.calls[0])
    answers = [first, *(session.run(call) for call in prepared.calls[1:])]
    outputs = {name: np.concatenate([answer[name] for answer in answers]) for name in first}
    cold = prepared.record.cold
    return replace(
        prepared.record,
        cold=None if cold is None else replace(cold, first_s=first_s),
        quality=quality(case, settings, outputs),
    )


def timed(prepared: Prepared, judged: Record, timing: Timing) -> Record:
    """*judged* with its timing, and the peak of memory that the cell reached."""
    cold = judged.cold
    peak = memory.growth_bytes(prepared.level_bytes)
    return replace(judged, timing=timing, cold=None if cold is None else replace(cold, peak_bytes=peak))


def quality(case: Case, settings: Settings, outputs: Mapping[str, NDArray[np.generic]]) -> Quality:
    """What the gate says of *outputs*, stacked over the evaluation calls of *case*."""
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


@lru_cache(maxsize=1)
def feeds(settings: Settings, spec: ModelSpec) -> Feeds:
    """What *spec* is evaluated on."""
    return feeding.make(spec, _samples(settings, spec)[1])


@lru_cache(maxsize=1)
def reference_of(settings: Settings, spec: ModelSpec) -> Reference:
    """The FP32 embeddings of what *spec* is evaluated on."""
    return referring.make(source(settings, spec), feeds(settings, spec), Store(settings.cache), settings.threads)


@lru_cache(maxsize=1)
def calibration(settings: Settings, spec: ModelSpec) -> Calibration:
    """What *spec* is calibrated on: never a picture or a text that it is evaluated on.

    Pictures whose caption serves come first, in the captions' order, so that a pair is calibrated on right answers
    too. Pictures without captions, such as class folders, lend no text: then the scenes' captions serve.
    """
    chosen = _samples(settings, spec)[0]
    seen = {row.tobytes() for row in feeds(settings, spec).tokens}
    image = feeding.images(spec, chosen)
    texts = [captions[0] if captions else "" for captions in chosen.captions]
    if not any(texts):
        texts = [captions[0] for captions in generated.calibration(CALIBRATION_SAMPLES, 1).captions]
    rows = feeding.tokens(spec, texts)
    fresh = [i for i, row in enumerate(rows) if texts[i] and row.tobytes() not in seen]
    tokens, first = rows[fresh], [i for i in fresh if i < len(image)]
    image = image[first + sorted(set(range(len(image))) - set(first))]
    return Calibration(image=image, tokens=tokens, sha256=feeding.digest([image, tokens]))


@lru_cache(maxsize=1)
def _samples(settings: Settings, spec: ModelSpec) -> tuple[Samples, Samples]:
    """Calibration and evaluation samples, disjoint: your own data by path, else generated scenes."""
    size, n = spec.image_size, settings.samples
    if settings.data is not None:
        found = folders.read(settings.data)
        if found.problems:
            _log.warning("%s: %d left out: %s", settings.data, len(found.problems), "; ".join(found.problems))
        return folders.split(found, CALIBRATION_SAMPLES, n)
    chosen = generated.calibration(CALIBRATION_SAMPLES, size)
    if spec.weights.kind == "embedded":
        return chosen, generated.evaluation(EMBEDDED_SAMPLES, EMBEDDED_SAMPLES, size)
    if not spec.trained:
        return chosen, generated.evaluation(0, n, size)
    return chosen, generated.evaluation(n // 2, n - n // 2, size)
