"""Preprocessing: the fused transform makes the reference's pixels in less time, on one core.

``python tests/claims/preprocess.py [SECONDS]``. A PNG of 2162 × 762 pixels with transparency and a JPEG of 640 × 425, made
of generated scenes and of a texture whose amplitude falls with frequency as a photograph's does. Where ../shared lies
beside the repository, its CLIP.png, and its coco.jpg at that size, are measured too.

Both transforms take an encoded picture to what the model takes. They take turns on one core, in the order ABBA, so that
whatever else the machine does happens to both alike. A round's ratio is the sum of our two times over the sum of the
reference's two beside them; told is the median over the rounds, with a bootstrap interval of 95 %. A bound holds where
the whole interval lies under it, and the mean difference of the pixels under 1e-4.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import verdict
from numpy.typing import NDArray
from PIL import Image

from clip_bench.data import generated
from clip_bench.models.catalog import MODELS
from clip_bench.preprocess import REFERENCE, transform
from clip_bench.preprocess.measure import one_core

SHARED = Path(__file__).parents[3] / "shared" / "data" / "images"
MODEL = "vit_b_32_random"
PNG, JPEG = (2162, 762), (640, 425)
BOUNDS = {"PNG": 0.6, "JPEG": 0.85}
DIFFERENCE = 1e-4
SECONDS = 12.0  # of each picture
LEAST = 30  # rounds
UNCOUNTED = 3
RESAMPLES = 999
QUALITY = 90

Transform = Callable[[bytes], NDArray[np.float32]]


def scenery(width: int, height: int) -> NDArray[np.uint8]:
    """Scenes side by side under a texture, (height, width, 3)."""
    count = -(-width // height)
    scenes = [np.asarray(picture.open()) for picture in generated.evaluation(0, count, height).pictures]
    texture = np.zeros((height, width), np.float32)
    draw = np.random.default_rng(0)
    for octave in range(8):  # each twice as fine as the one before and half as strong
        grid = draw.normal(0, 32 / 2**octave, (2 ** (octave + 1), 2 ** (octave + 2))).astype(np.float32)
        texture += np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
    rows = np.concatenate(scenes, axis=1)[:, :width] + texture[..., None]
    return np.clip(rows, 0, 255).astype(np.uint8)


def png(width: int, height: int) -> bytes:
    """Scenery that fades out towards its left and right edge."""
    fade = np.clip(4 * np.sin(np.pi * np.arange(width) / width), 0, 1)
    opacity = np.broadcast_to((255 * fade).astype(np.uint8)[None, :, None], (height, width, 1))
    return encoded(Image.fromarray(np.concatenate([scenery(width, height), opacity], axis=2)), "PNG")


def encoded(image: Image.Image, kind: str) -> bytes:
    """The bytes of a file of *kind*."""
    target = io.BytesIO()
    image.save(target, kind, quality=QUALITY)
    return target.getvalue()


def pictures() -> Mapping[str, tuple[str, bytes]]:
    """By name, the kind of each file and its bytes."""
    found = {
        "scenery, PNG": ("PNG", png(*PNG)),
        "scenery, JPEG": ("JPEG", encoded(Image.fromarray(scenery(*JPEG)), "JPEG")),
    }
    if SHARED.is_dir():
        photograph = Image.open(SHARED / "coco.jpg").resize(JPEG, Image.Resampling.LANCZOS)
        found["CLIP.png"] = ("PNG", (SHARED / "CLIP.png").read_bytes())
        found["coco.jpg at 640 × 425"] = ("JPEG", encoded(photograph, "JPEG"))
    return found


def rounds(reference: Transform, own: Transform, stored: bytes, seconds: float) -> NDArray[np.float64]:
    """Seconds, (rounds, 2): of the reference and ours, the sum of two calls each in the order ABBA or BAAB."""
    arms, found, start = (reference, own), [], time.perf_counter()
    while len(found) < LEAST + UNCOUNTED or time.perf_counter() - start < seconds:
        spent = [0.0, 0.0]
        for arm in (0, 1, 1, 0) if len(found) % 2 else (1, 0, 0, 1):
            began = time.perf_counter()
            arms[arm](stored)
            spent[arm] += time.perf_counter() - began
        found.append(spent)
    return np.array(found[UNCOUNTED:])


def told(name: str, kind: str, seconds: NDArray[np.float64], apart: float) -> verdict.Row:
    """The line of one picture."""
    ratios = seconds[:, 1] / seconds[:, 0]
    drawn = np.random.default_rng(0).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), (0.025, 0.975))
    reference, own = 1e3 * np.median(seconds, axis=0) / 2
    return verdict.row(
        picture=name,
        open_clip_ms=f"{reference:.2f}",
        fused_ms=f"{own:.2f}",
        ratio=f"{np.median(ratios):.3f} ({low:.3f} to {high:.3f})",
        bound=f"{BOUNDS[kind]:.2f}",
        processed_diff=f"{apart:.1e}",
        holds=bool(high <= BOUNDS[kind] and apart <= DIFFERENCE),
    )


def main(seconds: float) -> int:
    """Every picture."""
    reference, own = (transform(name, MODELS[MODEL]) for name in (REFERENCE, "fused"))
    rows = []
    with one_core():
        for name, (kind, stored) in pictures().items():
            apart = float(np.abs(reference(stored) - own(stored)).mean())
            rows.append(told(name, kind, rounds(reference, own, stored, seconds), apart))
    return verdict.show(rows)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else SECONDS))
