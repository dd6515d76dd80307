"""Whether a cell is fed what it should be.

A wrong feed drifts little where pictures are simple, and not at all where the reference is fed it too.
Three questions: does a transform give what its description says, are token ids built as CLIP's are, and is a cell given
what the reference was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.quality.gates import Failure, Gate

Arrays = Mapping[str, NDArray[Any]]

STEP = 0.5 / 255 / 0.28
"""Half a step of an 8-bit pixel over the largest standard deviation in use: two transforms that agree round a few pixels
another way at most, by one step of one filter; what is further off is another transform."""

START, END = 49406, 49407
"""The ids with which CLIP's tokenizer begins and ends a text; 0 follows."""


def transformed(name: str, given: NDArray[Any], expected: NDArray[Any]) -> tuple[Failure, ...]:
    """What is wrong with pictures as a transform makes them: *given* and *expected* are (3, h, w) or (n, 3, h, w)."""
    if given.shape != expected.shape:
        return (_failure(f"{name}: the transform makes {given.shape} where its description makes {expected.shape}"),)
    off = np.abs(given.astype(np.float64) - expected)
    if not np.isfinite(given).all() or off.mean() > STEP or np.quantile(off, 0.99) > 2 * STEP:
        return (
            _failure(
                f"{name}: the transform's pixels are off by {off.mean():.3g} in the mean and {off.max():.3g} at most, in units "
                "of a standard deviation: another resize, crop, order of channels or normalisation than its description's"
            ),
        )
    return ()


def tokenized(tokens: NDArray[Any]) -> tuple[Failure, ...]:
    """What is wrong with ids (t, context) of CLIP's tokenizer: one start, words, one end, and nothing but 0 after it."""
    ends = (tokens == END).argmax(axis=1)
    after = np.arange(tokens.shape[1])[None] > ends[:, None]
    wrong = {
        "do not begin with the start": tokens[:, 0] != START,
        "hold no end, or several": (tokens == END).sum(axis=1) != 1,
        "go on after their end": ((tokens != 0) & after).any(axis=1),
        "hold ids out of range": ((tokens < 0) | (tokens > END)).any(axis=1),
    }
    return tuple(
        _failure(f"tokens: {rows.sum()} of {len(tokens)} texts {what}") for what, rows in wrong.items() if rows.any()
    )[:1]


def given(name: str, rows: NDArray[Any], expected: NDArray[Any]) -> tuple[Failure, ...]:
    """What is wrong with the samples *rows* that a cell is fed, where the reference was fed *expected*."""
    if rows.shape != expected.shape:
        return (_failure(f"{name}: {rows.shape} is fed where the reference was fed {expected.shape}"),)
    off = ~np.isclose(rows, expected, rtol=0, atol=STEP / 100).reshape(len(rows), -1).all(axis=1)
    if off.any():
        return (_failure(f"{name}: {off.sum()} of {len(rows)} samples are not what the reference was fed"),)
    return ()


def _failure(text: str) -> Failure:
    return Failure(text, Gate.FEEDS)
