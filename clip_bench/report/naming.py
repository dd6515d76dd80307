"""The words that others publish for a model, a tower, a batch and a precision, as ours."""

from __future__ import annotations

import re
from typing import Any

from clip_bench.specs import Precision, Tower
from clip_bench.timing.roofline import Sizes, architecture

FOREIGN = ("alt", "chinese", "clipa", "coca", "eva", "gap", "mobileclip", "mt5", "nllb", "plus", "relpos", "roberta", "siglip")  # fmt: skip
MODEL = re.compile(
    r"vit[-_ ]?(?P<size>bigg|gigantic|giant|base|large|huge|b|l|h|g)[-_ /]*(?:patch)?[-_ ]?(?P<patch>\d\d)(?!\d)"
)
PIXELS = re.compile(r"(?<!\d)(?:240|256|280|320|336|378|384|448)(?!\d)")
LETTERS = {"base": "b", "large": "l", "huge": "h", "giant": "g", "gigantic": "bigg"}
# As open_clip 3.3's model_configs: embedding; width, layers and MLP ratio of the vision tower; width, layers of the text's.
FAMILIES: dict[str, tuple[int, int, int, float, int, int]] = {
    "b": (512, 768, 12, 4.0, 512, 12),
    "l": (768, 1024, 24, 4.0, 768, 12),
    "h": (1024, 1280, 32, 4.0, 1024, 24),
    "g": (1024, 1408, 40, 4.3637, 1024, 24),
    "bigg": (1280, 1664, 48, 4.9231, 1280, 32),
}
PATCHES = {"b": (16, 32), "l": (14, 16), "h": (14, 16), "g": (14,), "bigg": (14,)}
TOWER = re.compile(r"(?P<pair>fused)|(?P<image>image|vision)|(?P<text>text)")
PRECISION = re.compile(
    r"(?P<a16w8>w8a16|a16w8)|(?P<int8>int8|w8a8)|(?P<bf16>bf16|bfloat16)|(?P<fp16>fp16|float16|float(?!\d))|(?P<fp32>fp32|float32)"
)


def model(words: str) -> Sizes | None:
    """The sizes of the CLIP model that *words* name: OpenAI's, timm's, open_clip's or Hugging Face's way.

    Fine-tuned or renamed weights leave the sizes as they are. None for an architecture of another kind, even where
    its name holds a plain one, and for what names none.
    """
    text = words.lower()
    found = MODEL.search(text)
    if found is None or set(re.findall(r"[a-z]+\d?", text)) & set(FOREIGN):
        return None
    letter, patch = LETTERS.get(found["size"], found["size"]), int(found["patch"])
    if patch not in PATCHES[letter]:
        return None
    pixels = PIXELS.search(text, found.end())
    return architecture(_config(letter, patch, int(pixels[0]) if pixels else 224))


def towers(boundary: str) -> tuple[Tower, ...]:
    """The towers that *boundary* names, in its order; one fused graph is ``pair`` alone."""
    named = [Tower(str(match.lastgroup)) for match in TOWER.finditer(boundary.lower())]
    return (Tower.PAIR,) if Tower.PAIR in named else tuple(dict.fromkeys(named))


def batch(words: str) -> tuple[int, int] | None:
    """Samples per call, and texts beside them: '1024' is (1024, 0), '1+10' is (1, 10); None where no number is told."""
    found = re.fullmatch(r"(\d{1,6})(?:\+(\d{1,6}))?", words.replace(" ", ""))
    return (int(found[1]), int(found[2] or 0)) if found and int(found[1]) else None


def precisions(words: str) -> tuple[Precision, ...]:
    """The precisions that *words* claim; a bare 'float' is taken as FP16, the faster of the two that it may mean."""
    kinds = dict.fromkeys(str(match.lastgroup) for match in PRECISION.finditer(words.lower()))
    return tuple(Precision.INT8_QDQ if kind == "int8" else Precision(kind) for kind in kinds)


def _config(letter: str, patch: int, pixels: int) -> dict[str, Any]:
    embed, width, layers, ratio, text_width, text_layers = FAMILIES[letter]
    vision = {"image_size": pixels, "patch_size": patch, "width": width, "layers": layers, "mlp_ratio": ratio}
    return {"embed_dim": embed, "vision_cfg": vision, "text_cfg": {"width": text_width, "layers": text_layers}}
