"""A picture as a model takes it, or the reason why not: hostile ones cost a line, not the run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from clip_bench.data.folders import DAMAGE
from clip_bench.data.listing import Entry
from clip_bench.errors import UsageError
from clip_bench.plain import said

Change = Callable[[object], NDArray[np.float32]]


def prepared(entry: Entry, change: Change) -> tuple[NDArray[np.float32], str]:
    """The picture of *entry* after *change*, (3, h, w), and the sha256 of its file.

    Raises:
        UsageError: it cannot be opened, or has a form that *change* cannot take.
    """
    picture, sha256 = entry.opened()
    try:
        return change(picture), sha256
    except (*DAMAGE, MemoryError, RuntimeError) as exc:
        msg = f"{entry.name}: mode {picture.mode} cannot be preprocessed: {said(exc)}"
        raise UsageError(msg) from exc
