"""A text tower that ends before pooling, as SOPHON's text bmodel does, and what the host does with its rows."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UnsupportedError

if TYPE_CHECKING:
    import torch
    from open_clip import CLIP
    from torch import nn

POOLS = ("argmax", "eos", "first", "last")  # the row of a text that is its embedding, in open_clip's words


def encoder(model: CLIP) -> tuple[Any, str]:
    """The part of *model* that has the text's pooling and projection, and the name of its attribute for pooling.

    Raises:
        UnsupportedError: a text tower that is not open_clip's own, or that pools in a way of its own.
    """
    holder, name = (model.text, "pool_type") if hasattr(model, "text") else (model, "text_pool_type")
    plain = getattr(holder, name, "") in POOLS and getattr(holder, "cls_emb", None) is None
    if not plain or getattr(holder, "text_projection", None) is None:
        msg = "the text tower does not end in a row of tokens and a projection, as a text bmodel does"
        raise UnsupportedError(msg)
    return holder, name


def pooling(model: CLIP) -> dict[str, object]:
    """How *model* picks a text's row: ``pool``, one of :data:`POOLS`, and ``eos``, the token that it may look for."""
    holder, name = encoder(model)
    token = getattr(holder, "text_eos_id" if name == "text_pool_type" else "eos_id", None)
    return {"pool": getattr(holder, name), "eos": token}


def module(model: CLIP) -> nn.Module:
    """A copy of *model*'s text tower without pooling and projection: tokens (n, context) to (n, context, width)."""
    import torch

    class Rows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.clip = copy.deepcopy(model, {id(model.visual): torch.nn.Identity()})
            holder, name = encoder(self.clip)
            setattr(holder, name, "none")
            holder.text_projection = None

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            rows: torch.Tensor = self.clip.encode_text(tokens)
            return rows

    return Rows().eval()


def projection(model: CLIP) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What *model* does with the row: a matrix (width, embedding) and a bias (embedding)."""
    import torch

    layer = encoder(model)[0].text_projection
    linear = isinstance(layer, torch.nn.Linear)
    matrix = layer.weight.T if linear else layer
    bias = layer.bias if linear and layer.bias is not None else torch.zeros(matrix.shape[1])
    return matrix.detach().numpy(), bias.detach().numpy()
