"""A chain of matrix products as a model: what a machine's ceiling is measured with, built by the towers' own recipes.

It is an image tower: a batch of pictures of 3 × s × s values is its left matrix, of as many rows and 3 s² columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clip_bench.errors import UsageError
from clip_bench.specs import ModelSpec, Weights

if TYPE_CHECKING:
    from torch import nn

PREFIX, TIED = "product_", "_tied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """*times* over, (rows × inner) times (inner × outer), and that, (rows × outer), times (outer × inner).

    A chain, so that what crosses the edge of a session (casts, copies, the way to a device) weighs little. Each product
    has a weight of its own unless they are *tied*: then two weights serve the whole chain, which is no large file however
    long.
    """

    rows: int
    inner: int
    outer: int
    times: int
    tied: bool = False

    @property
    def flops(self) -> int:
        """Floating-point operations of the whole chain, a multiplication and an addition being two."""
        return 2 * self.rows * self.inner * self.outer * 2 * self.times

    def __str__(self) -> str:
        return f"{self.rows}×{self.inner}×{self.outer}, {2 * self.times} in a chain"


def spec(shape: Shape) -> ModelSpec:
    """The model of *shape*, whose weights are generated; its rows are the batch.

    Raises:
        UsageError: *inner* is not 3 s² for any s.
    """
    size = math.isqrt(shape.inner // 3)
    if not size or 3 * size * size != shape.inner:
        msg = f"a product's inner size is 3 s², such as 48, 768, 1728 or 3072, not {shape.inner}"
        raise UsageError(msg)
    name = f"{PREFIX}{shape.inner}x{shape.outer}x{shape.times}{TIED if shape.tied else ''}"
    return ModelSpec(name=name, architecture=name, weights=Weights(kind="random"), image_size=size)


def architecture(name: str) -> nn.Module:
    """The model that :func:`spec` calls *name*."""
    from torch import Tensor
    from torch.nn import Linear, Module, ModuleList

    inner, outer, times = map(int, name.removeprefix(PREFIX).removesuffix(TIED).split("x"))
    weights = 1 if name.endswith(TIED) else times

    class Visual(Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [(inner, outer), (outer, inner)] * weights
            self.products = ModuleList(Linear(*size, bias=False) for size in sizes)

        def forward(self, image: Tensor) -> Tensor:
            rows = image.flatten(1)
            for i in range(2 * times):
                rows = self.products[i % len(self.products)](rows)
            return rows

    class Product(Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = Visual()

    return Product()
