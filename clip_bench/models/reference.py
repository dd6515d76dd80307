"""The reference: FP32 PyTorch embeddings of the same feeds, made once per model and data set, and its own noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip_bench.models import towers
from clip_bench.models.feeds import Feeds
from clip_bench.models.weights import Source
from clip_bench.specs import Tower
from clip_bench.store import Artifact, Store

if TYPE_CHECKING:
    from torch import nn

NAME = "reference.npz"
BATCH = 16
NOISE_ROWS = 64  # of each tower; enough for a mean, and cheap at batch 1

Embeddings = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What every cell is held against.

    ``image`` (n, width) and ``text`` (t, width) are un-normalised, rows as in the feeds; ``scale`` and ``bias`` turn
    cosines into logits. ``others`` holds the first rows of each tower computed again, at another batch size and with
    another number of threads: ``image_again``, ``text_batch``, ...
    """

    artifact: Artifact
    image: NDArray[np.float32]
    text: NDArray[np.float32]
    scale: float
    bias: float
    others: Embeddings

    def outputs(self, feeds: Feeds, tower: Tower) -> Mapping[str, NDArray[np.float32]]:
        """What the reference answers to ``feeds.calls(tower)``, stacked over the calls, by output name."""
        if tower is Tower.IMAGE:
            return {"image_embedding": self.image}
        if tower is Tower.TEXT:
            return {"text_embedding": self.text}
        texts = self.text[feeds.choices]
        cosines = np.einsum("nd,nkd->nk", _unit(self.image), _unit(texts))
        logits = (self.scale * cosines + self.bias).astype(np.float32)
        return {"image_embedding": self.image, "text_embedding": texts.reshape(-1, texts.shape[-1]), "logits": logits}


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return unit


def make(source: Source, feeds: Feeds, store: Store, threads: int) -> Reference:
    """The reference of *source* on *feeds*, from the store or computed now."""
    recipe = {
        "step": "reference",
        "model": source.spec.architecture,
        "weights_sha256": source.sha256(),
        "feeds_sha256": feeds.sha256,
        "batch": BATCH,
        "torch": version("torch"),
        "open_clip_torch": version("open_clip_torch"),
    }
    artifact = store.get(recipe, lambda folder: _compute(source, feeds, threads, folder / NAME))
    with np.load(artifact.file(NAME)) as stored:
        arrays = dict(stored)
    return Reference(
        artifact=artifact,
        image=arrays.pop("image"),
        text=arrays.pop("text"),
        scale=float(arrays.pop("scale").item()),
        bias=float(arrays.pop("bias").item()),
        others=arrays,
    )


def _compute(source: Source, feeds: Feeds, threads: int, path: Path) -> None:
    import torch

    model = source.model()
    arrays: dict[str, NDArray[np.float32]] = {}
    for tower, rows in ((Tower.IMAGE, feeds.image), (Tower.TEXT, feeds.tokens)):
        module = towers.module(model, tower, torch.float32)
        few = rows[:NOISE_ROWS]
        with _threads(threads):
            arrays[tower] = embed(module, rows)
            arrays[f"{tower}_again"] = embed(module, few)
            arrays[f"{tower}_batch"] = embed(module, few, 1)
        with _threads(1 if threads > 1 else 2):
            arrays[f"{tower}_threads"] = embed(module, few)
    bias = getattr(model, "logit_bias", None)
    arrays["scale"] = model.logit_scale.detach().exp().numpy()
    arrays["bias"] = np.zeros(1, np.float32) if bias is None else bias.detach().numpy()
    np.savez(path, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle


def embed(module: nn.Module, rows: NDArray[np.generic], batch: int = BATCH) -> NDArray[np.float32]:
    """The embeddings (n, width) that *module* gives *rows*, so many in a call."""
    import torch

    with torch.inference_mode():
        parts = [module(torch.from_numpy(rows[i : i + batch])).numpy() for i in range(0, len(rows), batch)]
    return np.concatenate(parts)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
