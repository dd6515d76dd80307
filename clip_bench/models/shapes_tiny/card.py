"""Measure what the model card states: ``python -m clip_bench.models.shapes_tiny.card`` prints its table."""

from __future__ import annotations

import sys
from pathlib import Path

from tabulate import tabulate

from clip_bench.data import Samples, generated
from clip_bench.models import catalog, feeds, towers, weights
from clip_bench.quality import scores
from clip_bench.specs import Tower

HELD_OUT = 500  # scenes of each number of objects, from the evaluation stream


def figures() -> dict[str, dict[str, float]]:
    """Per number of objects, each score in [0, 1] on :data:`HELD_OUT` evaluation scenes, in FP32 PyTorch."""
    return {str(objects): _measure(_captioned(objects)) for objects in (1, 2, 3)}


def _captioned(objects: int) -> Samples:
    """Evaluation scenes with captions; single objects with their class too."""
    size = catalog.MODELS["shapes_tiny"].image_size
    return generated.evaluation_of(objects, HELD_OUT, size)


def _measure(samples: Samples) -> dict[str, float]:
    import torch

    spec = catalog.MODELS["shapes_tiny"]
    fed = feeds.make(spec, samples)
    model = weights.Source(spec=spec, folder=None, store_root=Path()).model()
    with torch.inference_mode():
        image = towers.module(model, Tower.IMAGE, torch.float32)(torch.from_numpy(fed.image)).numpy()
        text = towers.module(model, Tower.TEXT, torch.float32)(torch.from_numpy(fed.tokens)).numpy()
    embeddings = scores.Embeddings(images=image, prompts=text[: fed.prompts], captions=text[fed.prompts :])
    answered = scores.answer_towers(embeddings, embeddings, labels=fed.labels, positives=fed.positives)
    return {score.name: score.value for each in answered for score in scores.summed(each)}


def table(measured: dict[str, dict[str, float]]) -> str:
    """The card's table, in percent."""
    names = ("top1", "top5", "t2i_r1", "i2t_r1", "t2i_r5", "i2t_r5")
    rows = [
        [objects, *(f"{100 * found[name]:.1f}" if name in found else "-" for name in names)]
        for objects, found in measured.items()
    ]
    heads = [
        "objects",
        "zero-shot top-1",
        "top-5",
        "text→image R@1",
        "image→text R@1",
        "text→image R@5",
        "image→text R@5",
    ]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True)


if __name__ == "__main__":
    sys.stdout.write(table(figures()) + "\n")
