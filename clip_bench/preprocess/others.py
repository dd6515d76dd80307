"""What people put in the place of open_clip's transform: another order of steps, torchvision's tensors, OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UnavailableError, UsageError
from clip_bench.models import feeds
from clip_bench.preprocess import decode, fused, plan
from clip_bench.specs import ModelSpec

Pixels = NDArray[np.uint8]
Transform = Callable[[bytes], NDArray[np.float32]]


def reference(spec: ModelSpec) -> Transform:
    """open_clip's own."""
    change = feeds.transform(spec)
    return lambda stored: change(decode.picture(stored))


def converted(mode: str) -> Callable[[ModelSpec], Transform]:
    """open_clip's own, on a picture that is made RGB, or grey, first."""

    def make(spec: ModelSpec) -> Transform:
        change = feeds.transform(spec)
        return lambda stored: change(decode.picture(stored).convert(mode))

    return make


def tensor(spec: ModelSpec) -> Transform:
    """RGB first, then torchvision's antialiased resize of a uint8 tensor."""
    from torch.nn.functional import interpolate
    from torchvision.transforms.functional import pil_to_tensor

    planned = plan.unpadded(spec)
    change, mode = fused.normaliser(planned), planned.resample.name.lower()

    def apply(stored: bytes) -> NDArray[np.float32]:
        image = decode.picture(stored).convert("RGB")
        width, height = planned.resized(*image.size)
        pixels = interpolate(pil_to_tensor(image)[None], (height, width), mode=mode, antialias=True)
        return change(planned.cropped(pixels[0].permute(1, 2, 0).numpy()))

    return apply


def opencv(interpolation: str) -> Callable[[ModelSpec], Transform]:
    """OpenCV from file to crop, with its filter *interpolation*: it drops transparency, and knows no EXIF here."""

    def make(spec: ModelSpec) -> Transform:
        resize = opencv_resize(interpolation)(spec)
        return lambda stored: resize(opencv_decoded(stored))

    return make


def opencv_decoded(stored: bytes) -> Pixels:
    """An encoded picture by OpenCV, (h, w, 3), blue first.

    Raises:
        UnavailableError: OpenCV is not installed.
        UsageError: :func:`clip_bench.preprocess.decode.opened` refuses it, or OpenCV cannot decode it.
    """
    cv2 = _opencv()
    decode.opened(stored)
    try:
        pixels: Pixels | None = cv2.imdecode(
            np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error as exc:
        msg = f"OpenCV cannot decode it: {exc.err}"
        raise UsageError(msg) from exc
    if pixels is None:
        msg = "OpenCV cannot decode it: damaged, or of a format that it does not know"
        raise UsageError(msg)
    return pixels


def opencv_resize(interpolation: str) -> Callable[[ModelSpec], Callable[[Pixels], NDArray[np.float32]]]:
    """OpenCV from decoded pixels, blue first, to what the model takes."""

    def make(spec: ModelSpec) -> Callable[[Pixels], NDArray[np.float32]]:
        cv2 = _opencv()
        planned = plan.unpadded(spec)
        change, filtered = fused.normaliser(planned), getattr(cv2, interpolation)

        def apply(pixels: Pixels) -> NDArray[np.float32]:
            height, width = pixels.shape[:2]
            resized = cv2.resize(pixels, planned.resized(width, height), interpolation=filtered)
            return change(planned.cropped(resized)[..., ::-1])

        return apply

    return make


def _opencv() -> Any:  # noqa: ANN401  a module
    try:
        return import_module("cv2")
    except ImportError as exc:
        msg = "this variant needs OpenCV: pip install 'clip-bench[pixels]'"
        raise UnavailableError(msg) from exc
