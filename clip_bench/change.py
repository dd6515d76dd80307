"""One thing of a pipeline, changed: what a saboteur is made of. As it stands a :class:`Change` changes nothing."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_bench.backends import Arrays
from clip_bench.models import feeds
from clip_bench.models.weights import Source
from clip_bench.specs import ModelSpec

if TYPE_CHECKING:
    from open_clip import CLIP

Transform: TypeAlias = Callable[[object], NDArray[np.float32]]


def same(calls: Sequence[Arrays]) -> Sequence[Arrays]:
    """*calls*, as they are."""
    return calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Where a cell departs from what it should be; what it is held against does not.

    ``model`` changes a copy of the open_clip model in place, before anything is exported from it; ``mask`` stands for
    what a recipe puts in the place of the attention mask's minus infinity; ``transform`` makes pictures into what the
    model takes, ``tokens`` changes token ids (t, context), ``calls`` the calls of the evaluation.
    """

    model: Callable[[CLIP], None] | None = None
    mask: float | None = None
    transform: Callable[[ModelSpec], Transform] = feeds.transform
    tokens: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None
    calls: Callable[[Sequence[Arrays]], Sequence[Arrays]] = same

    def source(self, source: Source) -> Source:
        """*source*, whose model is the changed one."""
        if self.model is None:
            return source
        return Changed(spec=source.spec, folder=source.folder, store_root=source.store_root, change=self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed(Source):
    """Weights of which *change* makes others: what is built of them is another artifact, and one more if its code changes."""

    change: Callable[[CLIP], None]

    @property
    def whole(self) -> Source:
        """The weights as they are."""
        return Source(spec=self.spec, folder=self.folder, store_root=self.store_root)

    def sha256(self) -> str:
        """A hash of the weights' own and of the code that changes them."""
        code = inspect.getsource(inspect.getmodule(self.change) or self.change)
        told = f"{self.whole.sha256()} {self.change.__qualname__} {code}"
        return hashlib.sha256(told.encode()).hexdigest()

    def model(self) -> CLIP:
        """A changed copy of the model."""
        made = copy.deepcopy(self.whole.model())
        self.change(made)
        return made
