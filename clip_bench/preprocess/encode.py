"""The reference model's embeddings of what variants make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from clip_bench.models import feeds, reference, towers
from clip_bench.models.weights import Source
from clip_bench.preprocess.measure import Captions
from clip_bench.specs import Tower

Floats = NDArray[np.float32]


def towers_of(source: Source) -> tuple[Callable[[Floats], Floats], Callable[[NDArray[np.int64]], Floats]]:
    """The FP32 PyTorch towers of *source* for arrays of any length: pictures to rows, tokens to rows."""
    import torch

    model = source.model()
    modules = (towers.module(model, tower, torch.float32) for tower in (Tower.IMAGE, Tower.TEXT))
    image, text = (partial(reference.embed, module) for module in modules)
    return image, text


def captions(
    told: dict[str, tuple[str, ...]], source: Source, embed: Callable[[NDArray[np.int64]], Floats]
) -> Callable[[Sequence[str]], Captions | None]:
    """For pictures by name, the embeddings of their captions; None where none of at least two has any."""

    def of(names: Sequence[str]) -> Captions | None:
        words = sorted({caption for name in names for caption in told.get(name, ())})
        if len(names) < 2 or not words:  # noqa: PLR2004  among one picture every answer is right
            return None
        positives = np.array([[word in told.get(name, ()) for word in words] for name in names])
        return Captions(rows=embed(feeds.tokens(source.spec, words)), positives=positives)

    return of
