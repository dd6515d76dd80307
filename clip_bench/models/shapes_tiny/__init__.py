"""shapes_tiny: a small trained CLIP in open_clip's architecture that travels with the project.

It knows 10 colours × 10 shapes in generated scenes, so the offline default matrix has true accuracies. The
weights file holds only the token rows that its captions use; the other rows of the vocabulary are zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from open_clip import CLIP, SimpleTokenizer
    from torch import Tensor

WEIGHTS = Path(__file__).with_name("weights.safetensors")
CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "patch_size": 8, "layers": 4, "width": 128, "head_width": 32},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "layers": 3, "width": 128, "heads": 4},
}
MEAN = (0.48145466, 0.4578275, 0.40821073)  # open_clip's OPENAI_DATASET_MEAN and _STD
STD = (0.26862954, 0.26130258, 0.27577711)


def tokenizer() -> SimpleTokenizer:
    """CLIP's own tokenizer at this model's context length."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=CONFIG["text_cfg"]["context_length"])


def architecture(*, vocabulary: int | None = None) -> CLIP:
    """The untrained model; *vocabulary* shrinks the token table, for training on known tokens alone."""
    from open_clip import CLIP

    text = CONFIG["text_cfg"] | ({"vocab_size": vocabulary} if vocabulary else {})
    return CLIP(**(CONFIG | {"text_cfg": text}))


def compact(model: CLIP, known: Tensor) -> dict[str, Tensor]:
    """The weights to store: *known* are the token ids that the rows of the token table stand for."""
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    return {name: value for name, value in state.items() if name != "attn_mask"} | {"known_tokens": known}


def expand(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo :func:`compact`: the full token table, zero where a token was never seen."""
    import torch

    table = torch.zeros(CONFIG["text_cfg"]["vocab_size"], CONFIG["text_cfg"]["width"])
    table[stored["known_tokens"]] = stored["token_embedding.weight"]
    return {name: value for name, value in stored.items() if name != "known_tokens"} | {"token_embedding.weight": table}
