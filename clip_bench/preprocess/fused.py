"""The reference's pixels for less: only the crop's box is resized, and normalised by one multiply-add."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip_bench.preprocess import decode, plan
from clip_bench.preprocess.plan import Plan
from clip_bench.specs import ModelSpec

# How far a filter reaches, in pixels of the larger raster: Pillow's src/libImaging/Resample.c
SUPPORT = {Image.Resampling.BILINEAR: 1.0, Image.Resampling.BICUBIC: 2.0}
Pixels = NDArray[np.uint8]
Span = tuple[float, float]


def pixels(spec: ModelSpec) -> Callable[[bytes], Pixels]:
    """From an encoded picture to the crop before normalisation, (h, w, 3).

    The function raises UsageError for what :func:`clip_bench.preprocess.decode.fastest` refuses.
    """
    planned = plan.of(spec)
    return lambda stored: crop(decode.fastest(stored), planned)


def transform(spec: ModelSpec) -> Callable[[bytes], NDArray[np.float32]]:
    """From an encoded picture to what the model takes, (3, h, w), contiguous; raises as :func:`pixels` does."""
    planned = plan.of(spec)
    change = normaliser(planned)
    return lambda stored: change(crop(decode.fastest(stored), planned))


def scaled(spec: ModelSpec) -> Callable[[bytes], NDArray[np.float32]]:
    """As :func:`transform`, from a JPEG that is decoded at a scale, where one of at least the resized size is left."""
    planned = plan.of(spec)
    change = normaliser(planned)
    return lambda stored: change(crop(decode.scaled(stored, planned.resized), planned))


def normaliser(planned: Plan) -> Callable[[Pixels], NDArray[np.float32]]:
    """(x / 255 - mean) / std of (h, w, 3) pixels as one multiply-add, straight into (3, h, w)."""
    scale = (1 / (255 * np.array(planned.std))).astype(np.float32)[:, None, None]
    shift = (-np.array(planned.mean) / planned.std).astype(np.float32)[:, None, None]

    def change(rows: Pixels) -> NDArray[np.float32]:
        out = np.empty((3, *rows.shape[:2]), np.float32)
        np.multiply(rows.transpose(2, 0, 1), scale, out=out, dtype=np.float32)
        out += shift
        return out

    return change


def crop(image: Image.Image, planned: Plan) -> Pixels:
    """What open_clip's transform crops out of *image*, (h, w, 3): resized in the image's own mode, then RGB."""
    width, height = planned.resized(*image.size)
    left, top = planned.corner(width, height)
    across, down = min(width, planned.size), min(height, planned.size)
    if image.mode in {"1", "P"}:  # Pillow takes the nearest of these: little work, and its sums of steps matter
        part = image.resize((width, height)).crop((left, top, left + across, top + down))
    else:
        x, begin_x, end_x = _span(image.width, width, left, across, planned)
        y, begin_y, end_y = _span(image.height, height, top, down, planned)
        near = image.crop((begin_x, begin_y, end_x, end_y))
        part = near.resize((across, down), planned.resample, box=(x[0], y[0], x[1], y[1]))
    if part.size != (planned.size, planned.size):
        part = _padded(part, planned)
    return np.asarray(part.convert("RGB"))


def _span(whole: int, resized: int, start: int, kept: int, planned: Plan) -> tuple[Span, int, int]:
    """Along one axis the pixels that the *kept* ones of *resized* from *start* on are made of.

    First the box of what is resized, counted from the first of the pixels that its filter reaches, which are begin to
    end of *whole*. Pillow keeps a box in float32: counted from the crop, it is as exact as the filter needs.
    """
    scale = whole / resized
    reach = math.ceil(SUPPORT[planned.resample] * max(scale, 1.0)) + 1
    first, last = start * scale, (start + kept) * scale
    begin, end = max(0, math.floor(first) - reach), min(whole, math.ceil(last) + reach)
    return (first - begin, min(last - begin, float(end - begin))), begin, end


def _padded(image: Image.Image, planned: Plan) -> Image.Image:
    from torchvision.transforms.functional import pad

    missing = planned.size - image.width, planned.size - image.height
    sides = [missing[0] // 2, missing[1] // 2, (missing[0] + 1) // 2, (missing[1] + 1) // 2]
    padded: Image.Image = pad(image, sides, fill=planned.fill)
    return padded
