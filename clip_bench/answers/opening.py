"""A picture as a model takes it, or the reason why not: hostile ones cost a line, not the run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from clip_bench.data.folders import DAMAGE
from clip_bench.data.listing import Entry
from clip_bench.errors import UsageError

Change = Callable[[object], NDArray[np.float32]]

LONGEST = 64  # times as long as wide: beyond, the resized picture takes gigabytes before it is cropped


def prepared(entry: Entry, change: Change) -> tuple[NDArray[np.float32], str]:
    """The picture of *entry* after *change*, (3, h, w), and the sha256 of its file.

    Raises:
        UsageError: it cannot be opened, is over 64 times as long as wide, or has a form that *change* cannot take.
    """
    picture, sha256 = entry.opened()
    short, long = sorted(picture.size)
    if long > LONGEST * short:
        msg = f"{entry.name}: {picture.size[0]} × {picture.size[1]} pixels, more than {LONGEST} times as long as wide"
        raise UsageError(msg)
    try:
        return change(picture), sha256
    except (*DAMAGE, MemoryError, RuntimeError) as exc:
        msg = f"{entry.name}: mode {picture.mode} cannot be preprocessed: {(str(exc) or type(exc).__name__).splitlines()[0]}"
        raise UsageError(msg) from exc
