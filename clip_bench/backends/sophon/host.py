"""The host's part of a bmodel's work: padding, trimming, and what is left of a text after its bmodel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.graphs import bmodel
from clip_bench.store import Artifact

Rows = NDArray[np.float32]


def padded(rows: NDArray[np.generic], batch: int) -> Rows:
    """*rows* in float32, token ids too, with zeros up to *batch* rows."""
    full = np.zeros((batch, *rows.shape[1:]), np.float32)
    full[: len(rows)] = rows
    return full


def trimmed(answers: Rows, count: int) -> Rows:
    """The answers to the first *count* rows: what follows was padding."""
    return answers[:count]


def head(artifact: Artifact) -> Head | None:
    """What the host does after a text's bmodel; None where *artifact* has no text."""
    if not (artifact.path / bmodel.PROJECTION).exists():
        return None
    with np.load(artifact.path / bmodel.PROJECTION) as stored:
        arrays = dict(stored)
    told: Mapping[str, Any] = artifact.recipe
    return Head(
        matrix=arrays["matrix"],
        shift=arrays["bias"],
        pool=told["pool"],
        eos=told["eos"],
        scale=told.get("scale"),
        bias=told.get("bias", 0.0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is left of a text after its bmodel: a row is picked and projected; of a pair, logits are made too.

    ``pool`` is open_clip's name of which row, ``eos`` the id that it looks for where that is by the end token. ``matrix``
    (width, embedding) and ``shift`` (embedding) project. ``scale`` and ``bias`` make logits; None and 0 without a pair.
    """

    matrix: Rows
    shift: Rows
    pool: str
    eos: int | None
    scale: float | None
    bias: float

    def embed(self, rows: Rows, tokens: NDArray[np.generic]) -> Rows:
        """Of *rows* (n, context, width) the embeddings (n, embedding) of *tokens* (n, context), not normalised."""
        return self.project(self.pick(rows, tokens))

    def pick(self, rows: Rows, tokens: NDArray[np.generic]) -> Rows:
        """The row of each text that open_clip's pooling takes (``text_global_pool``), (n, width)."""
        ids = np.asarray(tokens)
        places = {
            "argmax": ids.argmax(axis=-1),
            "eos": (ids == self.eos).argmax(axis=-1),
            "first": np.zeros(len(ids), np.int64),
            "last": np.full(len(ids), rows.shape[1] - 1),
        }
        picked: Rows = rows[np.arange(len(rows)), places[self.pool]]
        return picked

    def project(self, picked: Rows) -> Rows:
        """The picked rows in the space that pictures share."""
        projected: Rows = np.add(picked @ self.matrix, self.shift)
        return projected

    def logits(self, image: Rows, text: Rows) -> Rows:
        """The scaled cosines of one picture and its texts, (1, texts)."""
        logits: Rows = np.float32(self.scale or 0) * (_unit(image) @ _unit(text).T) + np.float32(self.bias)
        return logits


def _unit(rows: Rows) -> Rows:
    unit: Rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit
