"""Train shapes_tiny on this project's generated scenes: ``python -m clip_bench.models.shapes_tiny.train OUT``.

OUT is the safetensors file to write. On 2 cores it takes under two hours; the same torch on the same kind of
processor gives the same weights, another one the same figures within a point (see README.md beside this file).
The loss is CLIP's symmetric cross-entropy (Radford et al. 2021, section 2.3) with soft targets: pictures with
equal captions in one batch share the target's mass, because neither is wrong.
"""

from __future__ import annotations

import math
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the field's name for it

from clip_bench.data import scenes
from clip_bench.models import shapes_tiny

SCENES = 240_000
MIX = (1, 2, 1, 3)  # objects per scene, in turn
STEPS = 3_600
WARM_UP = 200
BATCH = 128
RATE = 1e-3
WEIGHT_DECAY = 0.1
SEED = 0


def rendered() -> tuple[NDArray[np.uint8], list[str]]:
    """The training pictures (n, 64, 64, 3) and their captions."""
    size = shapes_tiny.CONFIG["vision_cfg"]["image_size"]
    pixels = np.empty((SCENES, size, size, 3), np.uint8)
    captions = []
    streams = {objects: count() for objects in MIX}
    for i in range(SCENES):
        objects = MIX[i % len(MIX)]
        scene = scenes.scene(scenes.Split.TRAIN, next(streams[objects]), objects)
        pixels[i] = scenes.render(scene, size)
        captions.append(scene.caption)
    return pixels, captions


def normalised(pixels: Tensor) -> Tensor:
    """What open_clip's transform makes of pictures that already have the model's size, (n, 3, h, w)."""
    mean = torch.tensor(shapes_tiny.MEAN).view(3, 1, 1)
    std = torch.tensor(shapes_tiny.STD).view(3, 1, 1)
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


def contrastive(image: Tensor, text: Tensor, scale: Tensor, kinds: Tensor) -> Tensor:
    """CLIP's loss; *kinds* numbers the captions, equal captions alike."""
    logits = scale * image @ text.T
    same = (kinds[:, None] == kinds[None, :]).float()
    target = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def rate(step: int) -> float:
    """Linear warm-up, then half a cosine, as a share of the full rate."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP)))


def optimizer(model: nn.Module) -> torch.optim.AdamW:
    """AdamW with no decay on gains, biases and the temperature, as in CLIP."""
    plain = [p for p in model.parameters() if p.ndim < 2]  # noqa: PLR2004  vectors and scalars
    decayed = [p for p in model.parameters() if p.ndim >= 2]  # noqa: PLR2004
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": WEIGHT_DECAY}]
    return torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), eps=1e-6)


def train(out: Path) -> None:
    """Render, train, and write the weights with the token rows that the captions use."""
    torch.manual_seed(SEED)
    pixels, captions = rendered()
    pictures = torch.from_numpy(pixels)
    kinds = torch.from_numpy(np.unique(captions, return_inverse=True)[1])
    tokens = shapes_tiny.tokenizer()(captions)
    known = torch.unique(tokens)  # sorted, so the end token keeps the highest number
    tokens = torch.searchsorted(known, tokens)
    model = shapes_tiny.architecture(vocabulary=len(known)).train()
    optim = optimizer(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optim, rate)
    order = torch.cat([torch.randperm(SCENES) for _ in range(STEPS * BATCH // SCENES + 1)])
    began = time.monotonic()
    for step in range(STEPS):
        rows = order[step * BATCH : (step + 1) * BATCH]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            image = model.encode_image(normalised(pictures[rows]), normalize=True)
            text = model.encode_text(tokens[rows], normalize=True)
        loss = contrastive(image.float(), text.float(), model.logit_scale.exp(), kinds[rows])
        optim.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        if step % 20 == 19:  # noqa: PLR2004  a line of progress every 20 steps
            sys.stderr.write(f"step {step + 1}/{STEPS} loss {loss.item():.4f} {time.monotonic() - began:.0f} s\n")
        if step % 300 == 299:  # noqa: PLR2004
            save_file(shapes_tiny.compact(model, known), out)
    save_file(shapes_tiny.compact(model, known), out)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
