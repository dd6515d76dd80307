"""Ways from an encoded picture to what a model takes: open_clip's own, and those that people put in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UsageError
from clip_bench.models import feeds
from clip_bench.preprocess import decode, fused
from clip_bench.specs import ModelSpec

Transform = Callable[[bytes], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way: *make* gives its transform for a model; *differs* says how its result differs from the reference."""

    make: Callable[[ModelSpec], Transform]
    differs: str


def _open_clip(spec: ModelSpec) -> Transform:
    change = feeds.transform(spec)
    return lambda stored: change(decode.picture(stored))


VARIANTS: Mapping[str, Variant] = {
    "open_clip": Variant(make=_open_clip, differs="the reference: resized and cropped in its own mode, then RGB"),
    "fused": Variant(make=fused.transform, differs="none: the crop's box alone is resized, one multiply-add"),
}


def transform(name: str, spec: ModelSpec) -> Transform:
    """The variant *name* for *spec*: from an encoded picture to (3, h, w) float32, contiguous.

    Raises:
        UsageError: there is no such variant. What it returns raises it for what is no picture, is damaged, has too many
            pixels, or is more than 64 times as long as wide.
    """
    if name not in VARIANTS:
        msg = f"no variant of preprocessing is called {name!r}: give one of {', '.join(VARIANTS)}"
        raise UsageError(msg)
    return VARIANTS[name].make(spec)
