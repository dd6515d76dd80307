"""Pictures that tell one transform from another: of uneven sides, in colour, and with detail that aliases."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip_bench.data import scenes
from clip_bench.models.feeds import transform
from clip_bench.preprocess import fused, plan
from clip_bench.specs import ModelSpec
from clip_bench.store import Store

Floats = NDArray[np.float32]
Transform = Callable[[ModelSpec], Callable[[object], Floats]]

SIDES = ((151, 97), (97, 151))  # width and height: no simple multiple of any model's size
NAME = "probes.npz"
SEED = 8017


def pictures() -> list[Image.Image]:
    """A scene and a picture of noise, each wide and high."""
    noise = np.random.Generator(np.random.Philox(SEED)).integers(
        0, 256, (*map(max, zip(*SIDES, strict=True)), 3), np.uint8
    )
    scene = scenes.render(scenes.scene(scenes.Split.EVALUATION, 0, 3), max(map(max, SIDES)))
    return [Image.fromarray(pixels[:height, :width]) for pixels in (scene, noise) for width, height in SIDES]


def made(spec: ModelSpec, change: Transform = transform) -> Floats:
    """What a transform makes of the probes, (n, 3, h, w): open_clip's own unless *change* is another."""
    apply = change(spec)
    return np.stack([apply(each) for each in pictures()])


def expected(spec: ModelSpec) -> Floats:
    """What the description of the transform makes of them, by code that shares no step but Pillow's filter with it."""
    planned = plan.of(spec)
    normalise = fused.normaliser(planned)
    return np.stack([normalise(fused.crop(each, planned)) for each in pictures()])


def kept(spec: ModelSpec, store: Store) -> tuple[Floats, Floats]:
    """Both for open_clip's own transform, made once for all runs: its import takes seconds."""
    recipe = {
        "step": "probes",
        "model": spec.name,
        "architecture": spec.architecture,
        "pretrained": spec.pretrained,
        "image_size": spec.image_size,
        "sides": SIDES,
        "seed": SEED,
        **{package: version(package) for package in ("open_clip_torch", "torch", "torchvision", "pillow")},
    }

    def build(folder: Path) -> None:
        np.savez(folder / NAME, made=made(spec), expected=expected(spec))

    with np.load(store.get(recipe, build).file(NAME)) as stored:
        return stored["made"], stored["expected"]
