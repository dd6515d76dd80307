"""Exact rewrites of a tower's modules: less work or cheaper inputs, and the same embedding but for rounding.

What a rewrite needs is looked for in the modules that open_clip made of the architecture's description, never in its
name; where it is missing, the reason is told.
"""
# ruff: noqa: ANN401  open_clip's modules have no types, and their attributes are what this is about

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UnsupportedError
from clip_bench.specs import Rewrite

if TYPE_CHECKING:
    from open_clip import CLIP
    from torch import Tensor, nn

REVISION = 2  # of the modules that are made here: what was built of another is built anew
LEVELS = 255  # the largest value of an 8-bit pixel
WHOLE = 0.01  # how far from a whole number an 8-bit pixel may seem after normalisation and back, in float32


def cut(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """The texts (n, context) up to where the longest ends: its largest id is its end token. (n, length)."""
    return np.ascontiguousarray(tokens[:, : int(tokens.argmax(axis=1).max()) + 1])


def pixels(image: NDArray[np.float32], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.uint8]:
    """The 8-bit pixels that the normalised pictures *image* (n, 3, h, w) were made of, in the same layout.

    Raises:
        UnsupportedError: they were not made of 8-bit pixels.
    """
    shape = (1, 3, 1, 1)
    values = LEVELS * (image * np.reshape(std, shape) + np.reshape(mean, shape))
    whole = np.rint(values)
    if np.abs(values - whole).max() > WHOLE or whole.min() < 0 or whole.max() > LEVELS:
        msg = "pictures whose pixels have more than 8 bits cannot be fed as such: leave --rewrite folded out"
        raise UnsupportedError(msg)
    made: NDArray[np.uint8] = whole.astype(np.uint8)
    return made


def visual(model: CLIP, rewrites: Collection[Rewrite], mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """A copy of the image tower of *model* with *rewrites*; ``folded`` takes pixels from 0 to 255 in the tower's type.

    Raises:
        UnsupportedError: the architecture does not permit one of them.
    """
    tower: Any = copy.deepcopy(model.visual)
    if Rewrite.POOLED in rewrites:
        blocks = _class_blocks(tower)
        for place, block in enumerate(blocks[:-1]):
            blocks[place] = _lean(block)
        blocks[-1] = _first_row(blocks[-1])
    if Rewrite.FOLDED in rewrites:
        owner, name = _stem(tower)
        setattr(owner, name, _folded(getattr(owner, name), mean, std))
    made: nn.Module = tower
    return made


def language(model: CLIP, rewrites: Collection[Rewrite]) -> nn.Module:
    """A copy of the text tower of *model* with *rewrites*: (n, tokens) to (n, width), fewer than the context if trimmed.

    Raises:
        UnsupportedError: the architecture does not permit one of them.
    """
    import torch
    from torch.nn import Identity, Linear, Module, ModuleList
    from torch.nn.functional import pad

    clip = copy.deepcopy(model, {id(model.visual): Identity()})
    holder: Any = getattr(clip, "text", clip)
    pool = _pool(holder)
    resblocks = _blocks(holder, "text")
    *blocks, final = resblocks
    del resblocks[:]
    mask = holder.attn_mask
    if Rewrite.TRIMMED in rewrites:
        _ends_its_texts(mask, pool)

    class Text(Module):
        """A table is a row longer than the context: else torch.export takes the whole context for a special case."""

        positions: Tensor
        mask: Tensor | None

        def __init__(self) -> None:
            super().__init__()
            self.holder, self.blocks = holder, ModuleList(map(_lean, blocks))
            self.last = _last(final) if Rewrite.POOLED in rewrites else _lean(final)
            self.register_buffer("positions", pad(holder.positional_embedding.detach(), (0, 0, 0, 1)))
            self.register_buffer("mask", None if mask is None else pad(mask, (0, 1, 0, 1)))

        def forward(self, tokens: Tensor) -> Tensor:
            texts, length = tokens.shape
            rows = holder.token_embedding(tokens) + self.positions[:length]
            mask = None if self.mask is None else self.mask[:length, :length]
            for block in self.blocks:
                rows = block(rows, attn_mask=mask)
            ends = tokens.argmax(dim=-1) if pool == "argmax" else torch.full((texts,), length - 1)
            picked = torch.arange(texts), ends
            if Rewrite.POOLED not in rewrites:
                row = self.last(rows, attn_mask=mask)[picked]
            else:
                row = self.last(rows, rows[picked][:, None], None if mask is None else mask[ends])[:, 0]
            row = holder.ln_final(row)
            projection = holder.text_projection
            embedding: Tensor = projection(row) if isinstance(projection, Linear) else row @ projection
            return embedding

    return Text()


def _projection(attention: Any, begin: int, end: int) -> nn.Linear:
    """Some rows of what makes an *attention*'s queries, keys and values, in units of its width."""
    from torch.nn import Linear, Parameter

    width = attention.embed_dim
    rows, made = slice(begin * width, end * width), Linear(width, (end - begin) * width)
    made.weight = Parameter(attention.in_proj_weight.detach()[rows].clone(), requires_grad=False)
    made.bias = Parameter(attention.in_proj_bias.detach()[rows].clone(), requires_grad=False)
    return made


def _lean(block: Any) -> nn.Module:
    """*block*, (n, tokens, width) to the same, with samples first throughout: torch's attention turns tokens first and back."""
    from torch.nn import Module
    from torch.nn.functional import scaled_dot_product_attention

    attention = block.attn
    width, heads = attention.embed_dim, attention.num_heads

    class Lean(Module):
        def __init__(self) -> None:
            super().__init__()
            self.project, self.out = _projection(attention, 0, 3), attention.out_proj
            self.norm, self.norm_2, self.mlp = block.ln_1, block.ln_2, block.mlp
            self.scale, self.scale_2 = block.ls_1, block.ls_2

        def forward(self, rows: Tensor, attn_mask: Tensor | None = None) -> Tensor:
            samples, tokens, _ = rows.shape
            packed = self.project(self.norm(rows)).reshape(samples, tokens, 3, heads, width // heads)
            query, key, value = packed.permute(2, 0, 3, 1, 4).unbind()
            seen = scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)
            rows = rows + self.scale(self.out(seen.transpose(1, 2).flatten(2)))
            made: Tensor = rows + self.scale_2(self.mlp(self.norm_2(rows)))
            return made

    return Lean()


def _last(block: Any) -> nn.Module:
    """*block* for one row of each sample: all rows (n, tokens, width) and that one (n, 1, width) to (n, 1, width).

    A mask (n, tokens) is what is added to the scores of that row. Queries have weights of their own, which a quantizer
    can find.
    """
    from torch.nn import Module
    from torch.nn.functional import scaled_dot_product_attention

    attention = block.attn
    width, heads = attention.embed_dim, attention.num_heads

    class Last(Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (_projection(attention, i, i + 1) for i in range(3))
            self.out, self.norm, self.norm_2, self.mlp = attention.out_proj, block.ln_1, block.ln_2, block.mlp
            self.scale, self.scale_2 = block.ls_1, block.ls_2

        def forward(self, rows: Tensor, row: Tensor, mask: Tensor | None = None) -> Tensor:
            def headed(each: Tensor) -> Tensor:
                return each.reshape(each.shape[0], -1, heads, width // heads).transpose(1, 2)

            normed = self.norm(rows)
            seen = scaled_dot_product_attention(
                headed(self.query(self.norm(row))),
                headed(self.key(normed)),
                headed(self.value(normed)),
                attn_mask=None if mask is None else mask[:, None, None],
            )
            row = row + self.scale(self.out(seen.transpose(1, 2).flatten(2)))
            made: Tensor = row + self.scale_2(self.mlp(self.norm_2(row)))
            return made

    return Last()


def _first_row(block: Any) -> nn.Module:
    """The last *block* of a ViT for its class token alone: (n, tokens, width) to (n, 1, width)."""
    from torch.nn import Module

    class First(Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = _last(block)

        def forward(self, rows: Tensor, attn_mask: None = None) -> Tensor:  # noqa: ARG002  a block's own signature
            made: Tensor = self.last(rows, rows[:, :1])
            return made

    return First()


def _folded(conv: nn.Conv2d, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """*conv* for pixels from 0 to 255 instead of (pixel / 255 - mean) / std; folded in float64, rounded once.

    It takes off each channel the whole number next to its mean, which is exact: sums over pixels that all are positive
    round more. Without that the embeddings of vit_b_32_random's scenes drift by 6e-10 from float64's, so by 9e-12; the
    plain tower's by 11e-12.
    """
    import torch

    if any(conv.padding) if isinstance(conv.padding, tuple) else conv.padding != "valid":
        msg = "folded: the first convolution pads the normalised picture with zeros, which no pixel's value stands for"
        raise UnsupportedError(msg)
    average, scale = (torch.tensor(each, dtype=torch.float64).reshape(1, -1, 1, 1) for each in (mean, std))
    middle, kind = (LEVELS * average).round(), conv.weight.dtype
    weight = conv.weight.detach().double() / (LEVELS * scale)
    shift = (weight * (middle - LEVELS * average)).sum(dim=(1, 2, 3))
    shift = shift if conv.bias is None else shift + conv.bias.detach().double()
    sizes: Any = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride)

    class Pixels(torch.nn.Module):
        middle: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(*sizes)
            self.conv.weight = torch.nn.Parameter(weight.to(kind), requires_grad=False)
            self.conv.bias = torch.nn.Parameter(shift.to(kind), requires_grad=False)
            self.register_buffer("middle", middle.to(kind))

        def forward(self, pixels: Tensor) -> Tensor:
            sums: Tensor = self.conv(pixels - self.middle)
            return sums

    return Pixels()


def _stem(tower: Any) -> tuple[Any, str]:
    """Where the one convolution that sees the picture is: its owner and its name there."""
    embedding = getattr(getattr(tower, "trunk", None), "patch_embed", None)
    places = ((tower, "conv1"), (embedding, "proj"))  # open_clip's ViT and ResNet, and timm's ViT
    found = next(((owner, name) for owner, name in places if hasattr(owner, name)), None)
    if found is None:
        msg = "folded: the picture does not go into one convolution, whose weights could normalise it"
        raise UnsupportedError(msg)
    return found


def _class_blocks(tower: Any) -> Any:
    """The blocks of a ViT whose embedding is the row of its class token, to be edited in place."""
    if getattr(tower, "pool_type", "") != "tok" or getattr(tower, "attn_pool", None) is not None:
        msg = "pooled: the image tower has no class token whose row alone becomes the embedding"
        raise UnsupportedError(msg)
    return _blocks(tower, "image")


def _blocks(holder: Any, tower: str) -> Any:
    """The blocks of *holder*'s transformer.

    Raises:
        UnsupportedError: they are not of open_clip's plain kind.
    """
    from open_clip.transformer import ResidualAttentionBlock

    transformer = getattr(holder, "transformer", None)
    blocks = getattr(transformer, "resblocks", ())
    plain = all(type(block) is ResidualAttentionBlock and not hasattr(block, "ln_1_kv") for block in blocks)
    if not len(blocks) or not plain or not getattr(transformer, "batch_first", False):
        msg = f"the {tower} tower is no transformer of open_clip's plain blocks, which is all that is rewritten"
        raise UnsupportedError(msg)
    return blocks


def _pool(holder: Any) -> str:
    """How a text's embedding is picked among its rows: ``argmax`` or ``last``.

    Raises:
        UnsupportedError: in another way, or from a token that is not the text's own.
    """
    pool: str = getattr(holder, "text_pool_type", getattr(holder, "pool_type", ""))
    odd = getattr(holder, "cls_emb", None) is not None or getattr(holder, "use_pad_mask", False)
    if odd or pool not in {"argmax", "last"} or getattr(holder, "text_projection", None) is None:
        msg = "the text tower does not end in one row of its tokens and a projection"
        raise UnsupportedError(msg)
    return pool


def _ends_its_texts(mask: Tensor | None, pool: str) -> None:
    """Raise for a text tower whose answer depends on what follows a text's end."""
    ahead = None if mask is None else mask.isneginf()
    if ahead is None or not bool((ahead == ahead.new_ones(ahead.shape).triu(1)).all()):
        msg = "trimmed: the text tower is not causal, so that what follows a text's end is a part of its embedding"
        raise UnsupportedError(msg)
    if pool != "argmax":
        msg = f"trimmed: the embedding is not the row of a text's largest id, where it ends, but of its {pool} token"
        raise UnsupportedError(msg)
