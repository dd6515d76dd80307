"""What a model's transform does to a size: how large it resizes, and which part of that it keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip_bench.errors import UsageError
from clip_bench.models import feeds
from clip_bench.specs import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """open_clip's evaluation transform as data, for a square of *size* pixels.

    *mode* is ``shortest`` (resize the shorter side, crop), ``squash`` (resize to the square) or ``longest`` (resize the
    longer side, pad with *fill*). *mean* and *std* are for values from 0 to 1.
    """

    size: int
    mode: str
    resample: Image.Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: int = 0

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after resizing, rounded as torchvision's Resize and open_clip's ResizeKeepRatio do."""
        if self.mode == "squash":
            return self.size, self.size
        if self.mode == "longest":
            ratio = max(width, height) / self.size
            return round(width / ratio), round(height / ratio)
        if width <= height:
            return self.size, int(self.size * height / width)
        return int(self.size * width / height), self.size

    def corner(self, width: int, height: int) -> tuple[int, int]:
        """Left and top of the crop in a resized picture of *width* and *height*, as torchvision's CenterCrop rounds."""
        return max(0, round((width - self.size) / 2.0)), max(0, round((height - self.size) / 2.0))

    def cropped(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The crop of a resized picture, (h, w, 3)."""
        left, top = self.corner(rows.shape[1], rows.shape[0])
        return rows[top : top + self.size, left : left + self.size]


def unpadded(spec: ModelSpec) -> Plan:
    """The plan of *spec* for a variant that cannot pad.

    Raises:
        UsageError: the model's transform pads.
    """
    planned = of(spec)
    if planned.mode == "longest":
        msg = f"{spec.name} pads its pictures, which this variant does not: take open_clip or fused"
        raise UsageError(msg)
    return planned


def of(spec: ModelSpec) -> Plan:
    """The plan of *spec*; imports open_clip."""
    config = feeds.preprocessing(spec)
    linear = config.interpolation == "bilinear"  # all else is bicubic to open_clip
    return Plan(
        size=spec.image_size,
        mode=config.resize_mode,
        resample=Image.Resampling.BILINEAR if linear else Image.Resampling.BICUBIC,
        mean=tuple(config.mean),
        std=tuple(config.std),
        fill=config.fill_color,
    )
