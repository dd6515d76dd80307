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
_MASK = "the published recipe's attention mask of -10000 leaves 8 bits a step of 39 for every attention score"
_OPEN_CLIP = "https://github.com/mlfoundations/open_clip/tree/v3.3.0/src/open_clip/model_configs"
# Which rewrites an architecture does not permit, in the order in which a pair of towers would tell. The graph's own
# modules decide; these rows only say that it is known.
_REFUSED = (
    ("pooled", "image", r"no class token", "its image tower pools over all tokens", ("rn50", "mobileclip", "siglip")),
    ("folded", "image", r"pads the normalised picture", "its first convolution pads", ("rn50",)),
    ("folded", "image", r"does not go into one convolution", "several convolutions see the picture", ("mobileclip",)),
    ("trimmed", "text", r"not causal", "every token of its texts sees every other", ("mobileclip", "siglip")),
)
KNOWN: tuple[Gap, ...] = (
    *(
        Gap(
            cells=f"{side}-{model}_*-{word}*",
            outcome=Outcome.UNSUPPORTED,
            error=error,
            reason=f"no exact rewrite: {why}",
            link=_OPEN_CLIP,
        )
        for word, tower, error, why, models in _REFUSED
        for model in models
        for side in (tower, "pair")
    ),
    Gap(
        cells="text-shapes_tiny-openvino-cpu-int8_nncf-pooled",
        outcome=Outcome.GATE_FAILED,
        error=r"text_embedding: worst row's cosine 0\.[78]",  # 0.79, and a mean of 0.945
        reason="this graph loses some texts when NNCF quantizes it, trimmed+pooled and the pair none; the cause is not found",
        link="docs/rewrites.md#pooled",
    ),
    *(
        Gap(
            cells=f"text-{model}-onnxruntime-vitisai-numerics-int8_qdq*",
            outcome=Outcome.GATE_FAILED,
            error=r"text_embedding: mean cosine 0\.[0-8]",  # shapes_tiny 0.52, vit_b_32_random 0.70; a mask of -100: 0.998
            reason=_MASK,
            link=_OLIVE,
        )
        for model in ("shapes_tiny", "vit_b_32_random")
    ),
    Gap(
        cells="pair-shapes_tiny-onnxruntime-vitisai-numerics-int8_qdq*",
        outcome=Outcome.GATE_FAILED,
        error=r"logits: ",
        reason=f"{_MASK}, in the text tower within",
        link=_OLIVE,
    ),
    Gap(
        cells="image-vit_b_32_random-onnxruntime-vitisai-numerics-int8_qdq",
        outcome=Outcome.GATE_FAILED,
        error=r"image_embedding: mean cosine 0\.[78]",  # 0.84
        reason="8-bit activations of every operator cost a ViT of this size its answer; 16-bit ones do not",
        link=_OLIVE,
    ),
    *(
        Gap(
            cells=f"{tower}-vit_b_32_random-onnxruntime-qnn-emulated-int8_qdq",
            outcome=Outcome.GATE_FAILED,
            error=rf"mean cosine {cosine}\d* is below 0\.98 for int8_qdq",
            reason="8-bit activations of every operator cost a ViT of this size its answer; 16-bit ones do not",
            link="docs/devices.md#qualcomm",
        )
        for tower, cosine in (("image", r"0\.8"), ("text", r"0\.97"))
    ),
)


def covering(case: Case) -> Gap | None:
    """The known gap of *case*, if there is one."""
    return next((gap for gap in KNOWN if fnmatchcase(case.id, gap.cells)), None)
