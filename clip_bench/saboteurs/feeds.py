"""What the model is fed: another transform, or other token ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.change import Change, Transform
from clip_bench.models import feeds
from clip_bench.quality.fed import END
from clip_bench.saboteurs.saboteur import IMAGES, TEXTS, Kind, Saboteur
from clip_bench.specs import ModelSpec

PEAK = 255  # of an 8-bit pixel


def _statistics(spec: ModelSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean, std = feeds.normalisation(spec)
    return np.array(mean, np.float32).reshape(3, 1, 1), np.array(std, np.float32).reshape(3, 1, 1)


def bgr(spec: ModelSpec) -> Transform:
    """Blue first, as OpenCV reads it."""
    from PIL import Image

    change = feeds.transform(spec)
    return lambda image: change(Image.merge("RGB", _rgb(image).split()[::-1]))


def _rgb(image: Any) -> Any:  # noqa: ANN401  a PIL image
    return image.convert("RGB")


def _described(spec: ModelSpec, **changes: object) -> Transform:
    """open_clip's own transform of another description."""
    from open_clip.transform import image_transform_v2

    change = image_transform_v2(replace(feeds.preprocessing(spec), **changes), is_train=False)
    return lambda image: change(image).numpy()


def squash(spec: ModelSpec) -> Transform:
    """Resized to the square, whatever the sides; cropped where the model's own squashes."""
    mode = feeds.preprocessing(spec).resize_mode
    return _described(spec, resize_mode="shortest" if mode == "squash" else "squash")


def aliased(spec: ModelSpec) -> Transform:
    """Bilinear, without antialiasing, as a tensor's resize is by default in many runtimes."""
    from torch import from_numpy
    from torch.nn.functional import interpolate

    size, (mean, std) = spec.image_size, _statistics(spec)

    def apply(image: Any) -> NDArray[np.float32]:  # noqa: ANN401  a PIL image
        pixels = np.asarray(_rgb(image), np.float32).transpose(2, 0, 1) / PEAK
        scale = size / min(pixels.shape[1:])
        shape = [max(size, round(side * scale)) for side in pixels.shape[1:]]
        made = interpolate(from_numpy(pixels)[None], shape, mode="bilinear", antialias=False)[0].numpy()
        top, left = ((side - size) // 2 for side in shape)
        return np.ascontiguousarray((made[:, top : top + size, left : left + size] - mean) / std)

    return apply


def unscaled(spec: ModelSpec) -> Transform:
    """Pixels from 0 to 255 where the mean and the deviation are of 0 to 1."""
    change, (mean, std) = feeds.transform(spec), _statistics(spec)
    return lambda image: ((change(image) * std + mean) * PEAK - mean) / std


def doubled(spec: ModelSpec) -> Transform:
    """Normalised twice."""
    change, (mean, std) = feeds.transform(spec), _statistics(spec)
    return lambda image: (change(image) - mean) / std


def unnormalised(spec: ModelSpec) -> Transform:
    """From 0 to 1, and no mean and deviation."""
    change, (mean, std) = feeds.transform(spec), _statistics(spec)
    return lambda image: change(image) * std + mean


def padded_with_end(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """The end's id after the end, where 0 should be."""
    after = np.arange(tokens.shape[1])[None] > (tokens == END).argmax(axis=1)[:, None]
    return np.where(after, END, tokens)


def without_start(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Texts without their start: all one place to the left."""
    return np.pad(tokens[:, 1:], ((0, 0), (0, 1)))


def _pictures(name: str, what: str, transform: Any) -> Saboteur:  # noqa: ANN401
    return Saboteur(name=name, kind=Kind.FEED, what=what, towers=IMAGES, change=Change(transform=transform))


ALL = (
    _pictures("bgr", "blue before red, as OpenCV reads a file", bgr),
    _pictures(
        "squashed", "resized to a square where the sides should keep their ratio, or the other way round", squash
    ),
    _pictures("aliased", "bilinear without antialiasing, as a tensor is resized by default", aliased),
    _pictures("unscaled", "not divided by 255 before the mean and the deviation", unscaled),
    _pictures("doubled", "normalised twice: by the transform and by the graph", doubled),
    _pictures("unnormalised", "divided by 255 alone: mean and deviation are missing", unnormalised),
    Saboteur(
        name="padded_with_end",
        kind=Kind.FEED,
        what="padded with the end's id, as other libraries' tokenizers do",
        towers=TEXTS,
        change=Change(tokens=padded_with_end),
    ),
    Saboteur(
        name="without_start",
        kind=Kind.FEED,
        what="the start's id is missing, as without special tokens",
        towers=TEXTS,
        change=Change(tokens=without_start),
    ),
)
