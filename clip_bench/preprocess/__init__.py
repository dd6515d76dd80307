"""Ways from an encoded picture to what a model takes: open_clip's own, and those that people put in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UsageError
from clip_bench.preprocess import fused, others
from clip_bench.specs import ModelSpec

REFERENCE = "open_clip"

Transform = Callable[[bytes], NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way: *make* gives for a model the function whose time counts; *differs* says what is not the reference's.

    *make*'s function takes an encoded picture, or what *before* makes of one, outside the time. That of *pixels* gives
    (h, w, 3) before normalisation.
    """

    make: Callable[[ModelSpec], Callable[[Any], NDArray[np.float32]]]
    differs: str
    pixels: Callable[[ModelSpec], Callable[[bytes], NDArray[np.uint8]]] | None = None
    before: Callable[[bytes], Any] | None = None


VARIANTS: Mapping[str, Variant] = {
    REFERENCE: Variant(make=others.reference, differs="the reference: resized and cropped in its own mode, then RGB"),
    "rgb_first": Variant(make=others.converted("RGB"), differs="RGB before the resize: transparent pixels count"),
    "grey": Variant(make=others.converted("L"), differs="no colours"),
    "tensor": Variant(make=others.tensor, differs="RGB first, torchvision's antialiased resize of a tensor"),
    "opencv_cubic": Variant(
        make=others.opencv("INTER_CUBIC"), differs="no transparency, a cubic of 4 × 4 pixels: aliases"
    ),
    "opencv_area": Variant(make=others.opencv("INTER_AREA"), differs="no transparency, the mean of each pixel's area"),
    "decoded": Variant(
        make=others.opencv_resize("INTER_AREA"),
        before=others.opencv_decoded,
        differs="opencv_area from decoded pixels: decoding is not in its time, not comparable",
    ),
    "fused": Variant(
        make=fused.transform, pixels=fused.pixels, differs="none: only the crop's columns are resized, one multiply-add"
    ),
    "fused_scaled": Variant(make=fused.scaled, differs="not exact: as fused, a large JPEG is decoded at a scale"),
}


def find(name: str) -> Variant:
    """The variant *name*; UsageError where there is none."""
    if name not in VARIANTS:
        msg = f"no variant of preprocessing is called {name!r}: give one of {', '.join(VARIANTS)}"
        raise UsageError(msg)
    return VARIANTS[name]


def transform(name: str, spec: ModelSpec, *, pixels: bool = False) -> Transform:
    """The variant *name* for *spec*: from an encoded picture to (3, h, w) float32, contiguous.

    With *pixels* it is uint8, before normalisation, if the variant has that: what the rewrite ``folded`` takes.

    Raises:
        UsageError: there is no such variant. What it returns raises it for what is no picture, is damaged, has too many
            pixels, or is more than 64 times as long as wide.
        UnavailableError: the variant's package is not installed.
    """
    variant = find(name)
    if pixels and variant.pixels is not None:
        cropped = variant.pixels(spec)
        return lambda stored: np.ascontiguousarray(cropped(stored).transpose(2, 0, 1))
    change, before = variant.make(spec), variant.before
    return change if before is None else lambda stored: change(before(stored))
