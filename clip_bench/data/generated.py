"""Samples of generated scenes: nothing to fetch, the same pixels on every platform."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

from PIL import Image

from clip_bench.data import NO_LABEL, Picture, Samples, assemble, scenes
from clip_bench.data.scenes import Scene, Split


def evaluation(labelled: int, captioned: int, size: int) -> Samples:
    """*labelled* single objects, each with its class, then *captioned* scenes of three, each with one caption.

    Every class is there equally often when *labelled* is a multiple of their number. Pictures are RGB, *size*
    pixels a side; all pixels stay in memory, 3 · size² bytes a picture.
    """
    keys = [*((1, index) for index in range(labelled)), *((3, index) for index in range(captioned))]
    return _samples(Split.EVALUATION, keys, size, captioned={3})


def evaluation_of(objects: int, n: int, size: int) -> Samples:
    """*n* evaluation scenes of as many *objects*, each with its caption; single ones with their class as well."""
    return _samples(Split.EVALUATION, ((objects, index) for index in range(n)), size, captioned={objects})


def calibration(n: int, size: int) -> Samples:
    """*n* scenes of one, two and three objects in turn, as in training: captions for all, classes for the single ones.

    They come from a stream of their own, which neither training nor evaluation draws from.
    """
    keys = ((1 + index % 3, index // 3) for index in range(n))
    return _samples(Split.CALIBRATION, keys, size, captioned={1, 2, 3})


def _samples(split: Split, keys: Iterable[tuple[int, int]], size: int, *, captioned: Collection[int]) -> Samples:
    """Draw each (objects, index) of *keys*; scenes of as many objects as *captioned* holds get their caption."""
    rows = []
    for objects, index in keys:
        scene = scenes.scene(split, index, objects)
        picture = _picture(f"{split.name.lower()}/{objects}/{index}", scene, size)
        label = scenes.label(index) if objects == 1 else NO_LABEL
        rows.append((picture, label, (scene.caption,) if objects in captioned else ()))
    return assemble(f"scenes_{split.name.lower()}", rows, classes=scenes.CLASSES, prompts=scenes.PROMPTS)


def _picture(name: str, scene: Scene, size: int) -> Picture:
    pixels = scenes.render(scene, size)
    return Picture(name=name, sha256=scenes.digest([pixels]), open=partial(Image.fromarray, pixels))
