"""Both towers at work: pictures and texts of any number in, embeddings out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clip_bench import encoder
from clip_bench.cases import Chosen
from clip_bench.encoder import Encoder
from clip_bench.evaluation import source
from clip_bench.quality import metrics
from clip_bench.settings import Settings
from clip_bench.specs import Tower

TOGETHER = 1000  # texts that are tokenized and encoded before their means are taken

Tokens = Callable[[Sequence[str]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """Both kinds, and what a cosine is multiplied by before the softmax: the model's own ``exp(logit_scale)``."""

    image: Encoder
    text: Encoder
    scale: float

    def classes(
        self, texts: Sequence[Sequence[str]], tokens: Tokens, progress: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float64]:
        """A unit row for each class, (n, width): the mean of the unit embeddings of its *texts*, as many for each.

        It is zeros where one of these has no direction. *progress* is told how many classes are done.
        Source: ``open_clip.build_zero_shot_classifier``.
        """
        each, rows = len(texts[0]), list[NDArray[np.float64]]()
        together = max(1, TOGETHER // each)
        for start in range(0, len(texts), together):
            part = texts[start : start + together]
            encoded = self.text(tokens([text for several in part for text in several]))
            several = metrics.normalised(encoder.stacked(encoded)).reshape(len(part), each, -1)
            whole = np.abs(several).max(axis=2).min(axis=1) > 0
            rows.append(several.mean(axis=1) * whole[:, np.newaxis])
            progress(start + len(part))
        return metrics.normalised(np.concatenate(rows))


@contextmanager
def opened(chosen: Chosen, settings: Settings, batch: int) -> Iterator[Encoders]:
    """The cells of *chosen* with *batch* samples in a call, built where they were not, and closed at the end.

    Raises:
        UnavailableError: the weights, the device or the package are not on this machine.
        UnsupportedError: nobody can build a cell, or the runtime refuses it.
        PlacementError: the runtime works elsewhere than asked, at the beginning or at the end.
    """
    with ExitStack() as stack:
        cells = dict.fromkeys((chosen.image, chosen.text))
        ready = {case: stack.enter_context(encoder.opened(case, settings, batch=batch)) for case in cells}
        scale = float(source(settings, chosen.image.model).model().logit_scale.detach().exp())
        yield Encoders(image=ready[chosen.image], text=replace(ready[chosen.text], kind=Tower.TEXT), scale=scale)
