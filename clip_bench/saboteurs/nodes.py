"""One node, or its setting, changed in every block where it stands."""
# ruff: noqa: ANN401  open_clip's modules have no types, and their attributes are what this is about

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from clip_bench.change import Change
from clip_bench.saboteurs.saboteur import TEXTS, Kind, Saboteur

LOWEST = float(np.finfo(np.float32).min)  # what exporters write for minus infinity


def _blocks(model: Any) -> Iterator[Any]:
    """The lists of residual blocks of both towers."""
    yield model.visual.transformer.resblocks
    yield getattr(model, "text", model).transformer.resblocks


def other_gelu(model: Any) -> None:
    """GELU where QuickGELU stands, and QuickGELU where GELU stands."""
    from open_clip.transformer import QuickGELU
    from torch.nn import GELU

    for blocks in _blocks(model):
        for block in blocks:
            block.mlp.gelu = GELU() if isinstance(block.mlp.gelu, QuickGELU) else QuickGELU()


def skip_block(model: Any) -> None:
    """The second block of each tower gives what it is given."""
    from torch import Tensor
    from torch.nn import Module

    class Skipped(Module):
        def forward(self, rows: Tensor, attn_mask: Tensor | None = None) -> Tensor:  # noqa: ARG002  a block's signature
            return rows

    for blocks in _blocks(model):
        blocks[1] = Skipped()


def _set_epsilon(model: Any, epsilon: float) -> None:
    from torch.nn import LayerNorm

    for module in model.modules():
        if isinstance(module, LayerNorm):
            module.eps = epsilon


def small_epsilon(model: Any) -> None:
    """LayerNorm with the epsilon of other libraries' transformers, a tenth."""
    _set_epsilon(model, 1e-6)


def large_epsilon(model: Any) -> None:
    """LayerNorm with an epsilon that float16 can hold."""
    _set_epsilon(model, 1e-3)


def pool_first(model: Any) -> None:
    """The text's embedding is taken at its first place."""
    holder = getattr(model, "text", model)
    setattr(holder, "pool_type" if holder is not model else "text_pool_type", "first")


def drop_mask(model: Any) -> None:
    """Every token attends to every other."""
    getattr(model, "text", model).attn_mask.zero_()


ALL = (
    Saboteur(
        name="other_gelu",
        kind=Kind.NODE,
        what="GELU for QuickGELU or back: OpenAI's weights need the quick one, most others do not",
        change=Change(model=other_gelu),
    ),
    Saboteur(
        name="block_skipped",
        kind=Kind.NODE,
        what="one block is left out, as by a converter that mistakes it for a no-op",
        change=Change(model=skip_block),
    ),
    Saboteur(
        name="epsilon_1e-6",
        kind=Kind.NODE,
        what="LayerNorm's epsilon is 1e-6 for 1e-5, as in other libraries' transformers",
        change=Change(model=small_epsilon),
    ),
    Saboteur(
        name="epsilon_1e-3",
        kind=Kind.NODE,
        what="LayerNorm's epsilon is 1e-3 for 1e-5: one that float16 can hold",
        change=Change(model=large_epsilon),
    ),
    Saboteur(
        name="pooled_first",
        kind=Kind.NODE,
        what="pooling at place 0: in float16 and bfloat16 the start's id and the end's are the same, and argmax takes the first",
        towers=TEXTS,
        change=Change(model=pool_first),
    ),
    Saboteur(
        name="mask_dropped",
        kind=Kind.NODE,
        what="the text's attention mask is lost: words see what follows them",
        towers=TEXTS,
        change=Change(model=drop_mask),
    ),
    Saboteur(
        name="mask_lowest",
        kind=Kind.NODE,
        what="the mask's minus infinity is left to the quantizer, whose scale it takes",
        towers=TEXTS,
        change=Change(mask=LOWEST),
    ),
)
