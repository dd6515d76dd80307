"""Seeded weights: the same bytes for an architecture on every platform, without a download.

A tensor's values depend on its name and shape alone: Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers:
as easy as 1, 2, 3"; numpy's ``Philox``, whose raw stream numpy keeps stable), the top 24 bits of each word as an
exact float32, one correctly rounded multiplication. torch's generator and libm take no part.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

SILENT = 0.01  # an initial gain below this switches its branch off
NORM_GAIN = 0.5  # what the zero gain of a residual branch's last norm becomes
LAYER_SCALE = 0.1  # CaiT's initial layer scale up to depth 18 (Touvron et al. 2021, section 2)
ATTENTION = (
    "in_proj_weight",
    "qkv.weight",
    ".q.weight",
    ".kv.weight",
    "q_proj.weight",
    "k_proj.weight",
    "v_proj.weight",
)


def weights(initial: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The seeded state dict for a model whose fresh state dict is *initial*; names and shapes are kept.

    * Scalars, integers and tensors whose initial values are all equal stay as the architecture makes them: gains
      and biases of norms, running statistics, the temperature.
    * Except a constant gain below 0.01, which would silence a branch, hide every error of its arithmetic, and let a
      runtime fold it away: the zeros of a ResNet's last norms become 0.5, FastViT's layer scale of 1e-5 becomes 0.1.
    * Everything else is uniform with mean zero and standard deviation gain/sqrt(n), n being the product of all sizes
      but the first, or the size itself of a vector. For a linear or convolution weight n is the fan-in.

    The gain is 1; sqrt(2) for convolutions, so that variance survives ReLU (He et al. 2015, section 2.2); and 2 for
    queries, keys and values: at 1, attention averages over all tokens, most of them padding, and the embeddings of
    different captions have a cosine of 0.99. A row of an embedding table or of positions gets about unit length
    whatever the width, so tokens and positions weigh alike. A projection's scale is divided out of the embedding.
    """
    return {name: _value(name, initial[name]) for name in sorted(initial)}


def digest(state: Mapping[str, Tensor]) -> str:
    """The sha256 over sorted names, dtypes, shapes and little-endian values."""
    total = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().cpu().contiguous().numpy()
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        total.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode())
        total.update(little.tobytes())
    return total.hexdigest()


def uniform(name: str, count: int, std: float) -> NDArray[np.float32]:
    """*count* float32 of the stream called *name*: mean 0 (within 2**-25 of the range), standard deviation *std*."""
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], dtype="<u8").astype(np.uint64)
    raw = np.random.Philox(key=key).random_raw(count)
    raw >>= np.uint64(40)
    values = raw.astype(np.float32)  # integers below 2**24: exact
    values -= np.float32(2**23)  # exact
    values *= np.float32(std * math.sqrt(12) / 2**24)  # the one rounding
    return values


def _value(name: str, initial: Tensor) -> Tensor:
    """One tensor by the rule of :func:`weights`."""
    import torch

    if initial.numel() <= 1 or not initial.is_floating_point():
        return initial.detach().clone()
    first = float(initial.reshape(-1)[0])
    if bool((initial == first).all()):
        return torch.full_like(initial, _constant(name, first))
    fan_in = initial[0].numel() if initial.ndim > 1 else len(initial)
    drawn = uniform(name, initial.numel(), math.sqrt(_gain(name, initial.ndim) / fan_in))
    return torch.from_numpy(drawn).reshape(initial.shape)


def _constant(name: str, initial: float) -> float:
    """The value of a tensor that begins all equal."""
    if abs(initial) >= SILENT:
        return initial
    return NORM_GAIN if name.endswith("weight") else LAYER_SCALE if name.endswith("gamma") else initial


def _gain(name: str, dims: int) -> float:
    """The square of the gain."""
    convolution = 4
    return 4.0 if name.endswith(ATTENTION) else 2.0 if dims == convolution else 1.0
