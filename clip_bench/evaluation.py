"""What a model is evaluated on, what it is held against, and what the gate says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clip_bench.change import Change
from clip_bench.data import Samples, generated, sets
from clip_bench.graphs import Calibration
from clip_bench.models import feeds as feeding
from clip_bench.models import reference as referring
from clip_bench.models.feeds import Feeds
from clip_bench.models.reference import Reference
from clip_bench.models.weights import Source
from clip_bench.options import SAMPLES
from clip_bench.preprocess import probes
from clip_bench.quality import fed as feeding_gate
from clip_bench.quality import gates, known, metrics, noise, scores
from clip_bench.quality.gates import Failure
from clip_bench.record import Answered, Quality
from clip_bench.settings import Settings
from clip_bench.specs import Case, Device, Load, ModelSpec, Tower
from clip_bench.store import Store

EMBEDDED_SAMPLES = 500  # of each kind: MLPerf's 99 % rule needs as many to tell one point
CALIBRATION_SAMPLES = 300  # as many as the largest published recipe takes
CALIBRATION_SCENES = 450  # a third shows one object, whose name is a prompt: that leaves as many texts as pictures

UNCHANGED = Change()

Arrays = Mapping[str, NDArray[np.generic]]


def scoped(settings: Settings, case: Case) -> Settings:
    """*settings* with the number of samples that *case* is evaluated on: few where an inference takes seconds."""
    emulated = case.target.device is Device.EMULATED
    return replace(settings, samples=SAMPLES) if emulated and settings.samples is None else settings


def quality(case: Case, settings: Settings, outputs: Mapping[str, NDArray[np.generic]]) -> Quality:
    """What the gate says of *outputs*, stacked over the evaluation calls of *case*."""
    settings = scoped(settings, case)
    fed, reference = feeds(settings, case.model), reference_of(settings, case.model)
    expected = reference.outputs(fed, case.tower)
    drift = _noise(reference)
    floors = {name: drift[Tower.TEXT if name.startswith(Tower.TEXT) else Tower.IMAGE] for name in expected}
    whole = all(name in outputs and metrics.comparable(outputs[name], rows) for name, rows in expected.items())
    answered = _answered(case, fed, reference, outputs) if case.model.trained and whole else ()
    alone = replace(case, variant=replace(case.variant, load=Load()))
    return gates.assess(case.precision, outputs, expected, floors, answered, known.of(alone.id, fed.sha256))


def _noise(reference: Reference) -> Mapping[Tower, noise.Noise]:
    found = {}
    for tower, rows in ((Tower.IMAGE, reference.image), (Tower.TEXT, reference.text)):
        others = {how: reference.others[f"{tower}_{how}"] for how in ("again", "batch", "threads")}
        found[tower] = noise.measure(rows[: len(others["again"])], **others)
    return found


def _answered(
    case: Case, fed: Feeds, reference: Reference, outputs: Mapping[str, NDArray[np.generic]]
) -> tuple[Answered, ...]:
    expected = reference.outputs(fed, case.tower)
    if case.tower is Tower.PAIR:
        return scores.answer_pair(outputs["logits"], expected["logits"], fed.answers)
    image = np.asarray(outputs.get("image_embedding", reference.image), np.float32)
    text = np.asarray(outputs.get("text_embedding", reference.text), np.float32)
    return scores.answer_towers(
        scores.Embeddings(images=image, prompts=text[: fed.prompts], captions=text[fed.prompts :]),
        scores.Embeddings(
            images=reference.image, prompts=reference.text[: fed.prompts], captions=reference.text[fed.prompts :]
        ),
        labels=fed.labels,
        positives=fed.positives,
    )


@lru_cache(maxsize=1)
def source(settings: Settings, spec: ModelSpec) -> Source:
    """Where the weights of *spec* are; found, and fetched if need be, when asked for."""
    return Source(spec=spec, folder=settings.weights, store_root=settings.cache)


@lru_cache(maxsize=2)  # of a device, and of an emulator
def feeds(settings: Settings, spec: ModelSpec) -> Feeds:
    """What *spec* is evaluated on."""
    return feeding.make(spec, _samples(settings, spec)[1], Store(settings.cache))


def calls(settings: Settings, case: Case, change: Change = UNCHANGED) -> Sequence[Arrays]:
    """Every evaluation call of *case*, in order, as its graph takes it; of a pipeline with a *change*, as that makes it."""
    fed, variant = feeds(settings, case.model), case.variant
    if change.transform is not UNCHANGED.transform:
        transform = change.transform(case.model)
        pictures = _samples(settings, case.model)[1].pictures
        fed = replace(fed, image=np.stack([transform(picture.open()) for picture in pictures]))
    if change.tokens is not None:
        fed = replace(fed, tokens=change.tokens(fed.tokens))
    plain = fed.calls(case.tower, variant.batch)
    return change.calls([feeding.shaped(call, variant.rewrites, case.model) for call in plain])


def misfed(settings: Settings, case: Case, asked: Sequence[Arrays], change: Change = UNCHANGED) -> tuple[Failure, ...]:
    """What is wrong with what *case* is fed, in its calls *asked*, and with the transform that made its pictures."""
    settings = scoped(settings, case)
    fed = feeds(settings, case.model)
    expected = fed.calls(case.tower, case.variant.batch)
    found: list[Failure] = []
    if Tower.TEXT in _sides(case.tower):
        tokens = np.concatenate([_whole(call["tokens"], case.model.context) for call in asked])
        found += feeding_gate.given("tokens", tokens, np.concatenate([call["tokens"] for call in expected]))
        found += feeding_gate.tokenized(tokens) if not feeding_gate.tokenized(fed.tokens) else ()
    if Tower.IMAGE in _sides(case.tower):
        pictures = np.concatenate([_normalised(call["image"], case.model) for call in asked])
        found += feeding_gate.given("image", pictures, np.concatenate([call["image"] for call in expected]))
        found += _mistransformed(settings, case.model, change)
    return tuple(found)


def _mistransformed(settings: Settings, spec: ModelSpec, change: Change) -> tuple[Failure, ...]:
    """What is wrong with the transform of *spec*, or with the one that *change* puts in its place."""
    made, expected = probes.kept(spec, Store(settings.cache))
    if change.transform is not UNCHANGED.transform:
        made = probes.made(spec, change.transform)
    return feeding_gate.transformed("image", made, expected)


def _sides(tower: Tower) -> tuple[Tower, ...]:
    return (Tower.IMAGE, Tower.TEXT) if tower is Tower.PAIR else (tower,)


def _whole(tokens: NDArray[np.generic], context: int) -> NDArray[np.generic]:
    """*tokens* as long as they are before they are trimmed."""
    return np.pad(tokens, ((0, 0), (0, max(0, context - tokens.shape[1]))))


def _normalised(pictures: NDArray[np.generic], spec: ModelSpec) -> NDArray[np.generic]:
    """*pictures*, (n, 3, h, w), as they are before they are folded."""
    if pictures.dtype != np.uint8:
        return pictures
    mean, std = (np.reshape(each, (1, 3, 1, 1)) for each in feeding.normalisation(spec))
    whole: NDArray[np.float32] = ((pictures.astype(np.float32) / 255 - mean) / std).astype(np.float32)
    return whole


def usual(calls: Sequence[Arrays]) -> list[Arrays]:
    """Those of *calls* that have the commonest shapes, of several the largest: what may be timed in turn."""
    counts = Counter(map(_shapes, calls))
    chosen = max(counts, key=lambda shapes: (counts[shapes], shapes))
    return [call for call in calls if _shapes(call) == chosen]


def _shapes(call: Arrays) -> tuple[tuple[int, ...], ...]:
    return tuple(rows.shape for rows in call.values())


def unseen(settings: Settings, case: Case, seed: int) -> Iterator[Arrays]:
    """Calls of *case* without end, none like another, each as much work as those that are timed."""
    fed, variant = feeds(settings, case.model), case.variant
    chosen = _shapes(usual(calls(settings, case))[0])
    drawn = feeding.unseen(fed, case.tower, variant.batch, seed)
    made = (feeding.shaped(call, variant.rewrites, case.model) for call in drawn)
    return (call for call in made if _shapes(call) == chosen)


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
    texts = [captions[0] if captions else "" for captions in chosen.captions]
    if not any(texts):
        texts = [captions[0] for captions in generated.calibration(CALIBRATION_SCENES, 1).captions]
    image, rows = feeding.arrays(spec, chosen, texts, Store(settings.cache))
    fresh = [i for i, row in enumerate(rows) if texts[i] and row.tobytes() not in seen]
    tokens, first = rows[fresh], [i for i in fresh if i < len(image)]
    image = image[first + sorted(set(range(len(image))) - set(first))]
    return Calibration(image=image, tokens=tokens, sha256=feeding.digest([image, tokens]))


@lru_cache(maxsize=2)  # of a device, and of an emulator
def _samples(settings: Settings, spec: ModelSpec) -> tuple[Samples, Samples]:
    """Calibration and evaluation samples, disjoint: your own data by path, else generated scenes."""
    size, n = spec.image_size, settings.samples or SAMPLES
    if settings.data is not None:
        return sets.split(settings.data_kind, settings.data, settings.data_root, CALIBRATION_SAMPLES, n)
    chosen = generated.calibration(CALIBRATION_SCENES, size)
    if spec.weights.kind == "embedded" and settings.samples is None:
        return chosen, generated.evaluation(EMBEDDED_SAMPLES, EMBEDDED_SAMPLES, size)
    if not spec.trained:
        return chosen, generated.evaluation(0, n, size)
    return chosen, generated.evaluation(n // 2, n - n // 2, size)
