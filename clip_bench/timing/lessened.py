"""What a call has to do after exact rewrites: the roofline's work, without what they leave out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from clip_bench.record import Work
from clip_bench.specs import Precision, Rewrite, Tower
from clip_bench.timing import roofline
from clip_bench.timing.roofline import CHANNELS, FLOAT_BYTES, Sizes


def work(
    sizes: Sizes,
    tower: Tower,
    precision: Precision,
    rewrites: Collection[Rewrite],
    *,
    tokens: int = 0,
    batch: int = 1,
    texts: int = 10,
) -> Work | None:
    """:func:`roofline.work` of a graph with *rewrites*, on texts of *tokens* tokens where they are trimmed.

    ``pooled`` leaves out the last block's other rows; attention elsewhere keeps its whole square, as it is computed.
    ``folded`` takes a byte for each value of a picture.
    """
    text = sizes.text
    if text is not None:
        length = tokens if Rewrite.TRIMMED in rewrites else text.stack.tokens
        text = replace(text, stack=replace(text.stack, tokens=length, causal=False))
    least = Rewrite.POOLED in rewrites
    found = roofline.work(replace(sizes, text=text), tower, precision, batch=batch, texts=texts, least=least)
    if found is None or sizes.vision is None or Rewrite.FOLDED not in rewrites:
        return found
    saved = batch * CHANNELS * sizes.vision.image_size**2 * (FLOAT_BYTES - 1)
    return replace(found, bytes=found.bytes - saved)
