"""The reference's pixels for less: only the crop's columns are resized, and normalised by one multiply-add."""

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
WEIGHTED = {"RGBA": "RGBa"}  # colours times opacity, which is what Pillow resizes of these
Pixels = NDArray[np.uint8]
ROWS, STEPS = 6, 24  # that are looked at; fewer steps from one value to the next make halves
SLACK = 64  # pixels that may be made beside the crop, so that they are the reference's to the last bit


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
    """What open_clip's transform crops out of *image*, (h, w, 3): resized in the image's own mode, then RGB.

    Where the crop is narrower than the picture and the picture is made smaller, only its columns are resized: across
    and then down, as Pillow does to a picture that is wider than high. Of a higher one, Pillow since 13 decides by its
    size which way comes first, and the 8 bits between the two are rounded otherwise; so it is resized as a whole. So
    are modes 1 and P, whose nearest pixels Pillow finds by adding up steps, and LA, which is rare; and a picture that
    is made larger, which is little work and has many halves.
    """
    width, height = planned.resized(*image.size)
    left, top = planned.corner(width, height)
    wide = width > height == planned.size < image.height
    if wide and image.mode not in {"1", "P", "LA"}:
        resized, left = _columns(image, width, left, planned), 0
    else:
        resized = image.resize((width, height), planned.resample)
    across, down = min(width, planned.size), min(height, planned.size)
    part = resized if resized.size == (across, down) else resized.crop((left, top, left + across, top + down))
    part = part if across == down == planned.size else _padded(part, planned)
    return np.asarray(part if part.mode == "RGB" else part.convert("RGB"))


def _columns(image: Image.Image, width: int, left: int, planned: Plan) -> Image.Image:
    """The columns from *left* on of *image* as it is when resized to *width*.

    Pillow keeps a box in float32. What is between two of its numbers can turn a half up instead of down, and where the
    ratio is as simple as 4 to 5, many values are halves. So the box begins and ends where whole pixels meet, if that is
    near. Elsewhere halves are rare, and counted from the crop the box is as exact as a filter needs; but not in a drawn
    picture of a few steps, such as stripes or a slope, of which every column is made.
    """
    scale = image.width / width
    step = width // math.gcd(image.width, width)  # so many pixels are made of a whole number of pixels
    first, last = left - left % step, left + planned.size + -(left + planned.size) % step
    if last - first > planned.size + SLACK:
        first, last = (0, width) if _halves(image) else (left, left + planned.size)
    reach = math.ceil(SUPPORT[planned.resample] * max(scale, 1.0)) + 1
    begins, ends = first * image.width / width, last * image.width / width
    begin, end = max(0, math.floor(begins) - reach), min(image.width, math.ceil(ends) + reach)
    near = image.crop((begin, 0, end, image.height))
    weighted = near.convert(WEIGHTED[image.mode]) if image.mode in WEIGHTED else near  # once, not for each of two ways
    box = (begins - begin, 0, min(ends - begin, end - begin), image.height)
    across = weighted.resize((last - first, image.height), planned.resample, box=box)
    made = across.resize((last - first, planned.size), planned.resample)
    made = made.crop((left - first, 0, left - first + planned.size, planned.size))
    return made.convert(image.mode) if image.mode in WEIGHTED else made


def _halves(image: Image.Image) -> bool:
    """Whether sums of its values are often halves: in some of its rows neighbours differ by one of a few steps."""
    tops = range(image.height // (2 * ROWS), image.height, max(1, image.height // ROWS))
    rows = [np.asarray(image.crop((0, top, image.width, top + 1))).astype(np.uint8) for top in tops]
    steps = np.diff(np.stack(rows), axis=2).ravel()
    return bool(np.count_nonzero(np.bincount(steps, minlength=256)) < STEPS)


def _padded(image: Image.Image, planned: Plan) -> Image.Image:
    from torchvision.transforms.functional import pad

    missing = planned.size - image.width, planned.size - image.height
    sides = [missing[0] // 2, missing[1] // 2, (missing[0] + 1) // 2, (missing[1] + 1) // 2]
    padded: Image.Image = pad(image, sides, fill=planned.fill)
    return padded
