"""One tower of a CLIP as a module of its own: float32 and token arrays in, un-normalised float32 out."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from clip_bench.errors import UnsupportedError
from clip_bench.models import rewrites as rewriting
from clip_bench.specs import ModelSpec, Rewrite, Tower

if TYPE_CHECKING:
    import torch
    from open_clip import CLIP
    from torch import Tensor, nn

PAIR_TEXTS = 10  # texts per picture in the fused graph, as the Olive examples publish it

INPUTS: Mapping[Tower, tuple[str, ...]] = {
    Tower.IMAGE: ("image",),
    Tower.TEXT: ("tokens",),
    Tower.PAIR: ("image", "tokens"),
}
OUTPUTS: Mapping[Tower, tuple[str, ...]] = {
    Tower.IMAGE: ("image_embedding",),
    Tower.TEXT: ("text_embedding",),
    Tower.PAIR: ("image_embedding", "text_embedding", "logits"),
}


def module(
    model: CLIP,
    tower: Tower,
    dtype: torch.dtype,
    rewrites: Collection[Rewrite] = (),
    normalisation: tuple[Sequence[float], Sequence[float]] = ((), ()),
) -> nn.Module:
    """A copy of the *tower* of an open_clip *model* in *dtype*; what crosses its edge stays float32 and int64.

    ``image`` maps (n, 3, h, w) and ``text`` (n, context) to (n, width). ``pair`` maps (1, 3, h, w) and
    (10, context) to both embeddings and to logits (1, 10), the scaled cosines. With *rewrites* the copy gives the same
    in another way: ``trimmed`` takes texts of fewer tokens, ``folded`` pictures of uint8, before *normalisation* by
    these means and standard deviations.

    Raises:
        UnsupportedError: the architecture does not permit one of *rewrites*.
    """
    from torch.nn import Identity, Module
    from torch.nn.functional import normalize

    class Image(Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = rewriting.visual(model, rewrites, *normalisation).to(dtype)

        def forward(self, image: Tensor) -> Tensor:
            embedding: Tensor = self.visual(image.to(dtype))
            return embedding.float()

    class Text(Module):
        def __init__(self) -> None:
            super().__init__()
            self.clip = copy.deepcopy(model, {id(model.visual): Identity()}).to(dtype)

        def forward(self, tokens: Tensor) -> Tensor:
            embedding: Tensor = self.clip.encode_text(tokens)
            return embedding.float()

    class Rewritten(Module):
        def __init__(self) -> None:
            super().__init__()
            self.text = rewriting.language(model, rewrites).to(dtype)

        def forward(self, tokens: Tensor) -> Tensor:
            embedding: Tensor = self.text(tokens)
            return embedding.float()

    class Pair(Module):
        def __init__(self) -> None:
            super().__init__()
            self.image, self.text = Image(), text()
            self.scale = model.logit_scale.detach().exp()
            self.bias = None if model.logit_bias is None else model.logit_bias.detach()

        def forward(self, image: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            images, texts = self.image(image), self.text(tokens)
            logits = self.scale * normalize(images, dim=-1) @ normalize(texts, dim=-1).T
            return images, texts, logits if self.bias is None else logits + self.bias

    text = Rewritten if {Rewrite.TRIMMED, Rewrite.POOLED} & set(rewrites) else Text
    towers: dict[Tower, type[Module]] = {Tower.IMAGE: Image, Tower.TEXT: text, Tower.PAIR: Pair}
    return towers[tower]().eval()


def example(spec: ModelSpec, tower: Tower, batch: int, rewrites: Collection[Rewrite] = ()) -> tuple[Tensor, ...]:
    """Inputs of the right shapes and types to trace *tower* with; a pair takes one image and ten texts."""
    import torch

    if tower is Tower.PAIR and batch != 1:
        msg = "the pair graph is one image with ten texts; export the image and text towers for other batches"
        raise UnsupportedError(msg)
    kind = torch.uint8 if Rewrite.FOLDED in rewrites else torch.float32
    image = torch.zeros(batch, 3, spec.image_size, spec.image_size, dtype=kind)
    length = spec.context // 2 if Rewrite.TRIMMED in rewrites else spec.context
    tokens = torch.zeros(PAIR_TEXTS if tower is Tower.PAIR else batch, length, dtype=torch.int64)
    tokens[:, 0] = 1  # argmax pooling wants one largest id
    shaped = {"image": image, "tokens": tokens}
    return tuple(shaped[name] for name in INPUTS[tower])
