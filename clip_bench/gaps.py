"""Cells that are known not to work, as data: what they end with, why, and where that is told.

A known gap is strict. A cell that ends as its gap says does not fail a run; one that ends well, or in another way,
does, so that a gap goes when its cause goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from clip_bench.record import Outcome
from clip_bench.specs import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Cells whose ids match *cells* (``*`` and ``?``) end with *outcome*, and a reason in which *error* (a regex) is found.

    *reason* says why, in a sentence of ours; *link* where the cause is told or kept.
    """

    cells: str
    outcome: Outcome
    error: str
    reason: str
    link: str

    def expects(self, outcome: Outcome, reason: str) -> bool:
        """Whether a cell ended as this gap says."""
        return outcome is self.outcome and re.search(self.error, reason) is not None


_OLIVE = (
    "https://github.com/microsoft/olive-recipes/blob/main/openai-clip-vit-base-patch32/VitisAI/"
    "openai_clip-vit-base-patch32_ptq_qdq_vitis_ai.json"
)
KNOWN: tuple[Gap, ...] = (
    Gap(
        cells="text-shapes_tiny-onnxruntime-vitisai-numerics-int8_qdq*",
        outcome=Outcome.GATE_FAILED,
        error=r"text_embedding: mean cosine 0\.[0-8]",
        reason="the published recipe's attention mask of -10000 leaves 8 bits a step of 39 for every attention score",
        link=_OLIVE,
    ),
    Gap(
        cells="pair-shapes_tiny-onnxruntime-vitisai-numerics-int8_qdq*",
        outcome=Outcome.GATE_FAILED,
        error=r"logits: ",
        reason="the text tower in it: the published attention mask of -10000 leaves 8 bits a step of 39",
        link=_OLIVE,
    ),
    Gap(
        cells="image-vit_b_32_random-onnxruntime-qnn-emulated-int8_qdq",
        outcome=Outcome.GATE_FAILED,
        error=r"mean cosine 0\.[0-8]\d* is below 0\.98 for int8_qdq",
        reason="every activation in 8 bits adds up over 12 layers: with 8-bit weights and 16-bit activations it passes",
        link="docs/devices.md#qualcomm",
    ),
)


def covering(case: Case) -> Gap | None:
    """The known gap of *case*, if there is one."""
    return next((gap for gap in KNOWN if fnmatchcase(case.id, gap.cells)), None)
