"""The models: which architecture with which weights, as data, and what a user may name beside them.

Repositories and files are those of open_clip 3.3's own table (``open_clip.pretrained``); sizes are those of its
``model_configs``. A sha256 is given where at least two independent public projects pin the same hash of that file at
that revision; the others are held from their first download on (see weights.py).
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from clip_bench.errors import UsageError
from clip_bench.models.hub import SAFE
from clip_bench.specs import ModelSpec, Weights

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
# A model's name may hold no word of another axis of an id: -k is a substring match.
TAKEN = (
    "emulated", "numerics", "compiled", "onnxruntime", "openvino", "torch", "image", "text", "pair", "null",
    "fp32", "fp16", "bf16", "int8", "a16w8", "cpu", "gpu", "npu", "trimmed", "pooled", "folded", "optimised",
)  # fmt: skip


def _hub(repo: str, revision: str = "main", sha256: str = "") -> Weights:
    return Weights(kind="hub", repo=repo, file=SAFE, revision=revision, sha256=sha256)


def _seeded(sha256: str) -> Weights:
    return Weights(kind="random", sha256=sha256)


_ROWS = (
    ModelSpec(
        name="shapes_tiny",
        architecture="shapes_tiny",
        pretrained="scenes",
        weights=Weights(
            kind="embedded",
            file="weights.safetensors",
            sha256="68f0b4f8bdf8a3556dd2363975f038f690ee64efcec4ef4dffc48ec05fb70686",
        ),
        image_size=64,
        context=24,
    ),
    ModelSpec(
        name="vit_b_32_openai",
        architecture="ViT-B-32-quickgelu",
        pretrained="openai",
        weights=_hub(
            "timm/vit_base_patch32_clip_224.openai",
            revision="a6f597a30f7b82c51704746581f9a4e41421e878",
            sha256="e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31",
        ),
    ),
    ModelSpec(
        name="vit_b_16_openai",
        architecture="ViT-B-16-quickgelu",
        pretrained="openai",
        weights=_hub(
            "timm/vit_base_patch16_clip_224.openai",
            revision="977e3dd0ec55ab8da155f2fbeb6b5f54948b6e3d",
            sha256="4b8699299b1e8997753c64b052ba32031449d5d853f55a039148560ee02b820f",
        ),
    ),
    ModelSpec(
        name="vit_l_14_openai",
        architecture="ViT-L-14-quickgelu",
        pretrained="openai",
        weights=_hub(
            "timm/vit_large_patch14_clip_224.openai",
            revision="18d0535469bb561bf468d76c1d73aa35156c922b",
            sha256="9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e",
        ),
    ),
    ModelSpec(
        name="vit_b_32_laion2b",
        architecture="ViT-B-32",
        pretrained="laion2b_s34b_b79k",
        weights=_hub(
            "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
            revision="1a25a446712ba5ee05982a381eed697ef9b435cf",
            sha256="ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6",
        ),
    ),
    ModelSpec(
        name="vit_l_14_laion2b",
        architecture="ViT-L-14",
        pretrained="laion2b_s32b_b82k",
        weights=_hub("laion/CLIP-ViT-L-14-laion2B-s32B-b82K"),
    ),
    ModelSpec(
        name="vit_b_32_datacomp",
        architecture="ViT-B-32",
        pretrained="datacomp_xl_s13b_b90k",
        weights=_hub("laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K"),
    ),
    ModelSpec(
        name="vit_l_14_datacomp",
        architecture="ViT-L-14",
        pretrained="datacomp_xl_s13b_b90k",
        weights=_hub("laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K"),
    ),
    ModelSpec(
        name="rn50_openai",
        architecture="RN50-quickgelu",
        pretrained="openai",
        weights=_hub(
            "timm/resnet50_clip.openai",
            revision="ec3d92cf63a5f9d591f0d611b736895966c73076",
            sha256="da0baa37fb2211eee5729ab69ed587eb10d48f5b7076ceeed01552fc3d4cb4ee",
        ),
    ),
    ModelSpec(
        name="mobileclip_s1",
        architecture="MobileCLIP-S1",
        pretrained="datacompdr",
        weights=_hub("apple/MobileCLIP-S1-OpenCLIP"),
        image_size=256,
    ),
    ModelSpec(
        name="mobileclip_s2",
        architecture="MobileCLIP-S2",
        pretrained="datacompdr",
        weights=_hub("apple/MobileCLIP-S2-OpenCLIP"),
        image_size=256,
    ),
    ModelSpec(
        name="siglip_b_16",
        architecture="ViT-B-16-SigLIP",
        pretrained="webli",
        weights=_hub("timm/ViT-B-16-SigLIP"),
        context=64,
        extra="siglip",
    ),
    ModelSpec(
        name="vit_b_32_random",
        architecture="ViT-B-32-quickgelu",
        weights=_seeded("33e8f71b4789314c1ff26045a8e8800a9c0820c1a686e6b08af42790c3ce9a4c"),
    ),
    ModelSpec(
        name="vit_b_16_random",
        architecture="ViT-B-16-quickgelu",
        weights=_seeded("6cb819d12f04765d2062f0580569d3d94d2cb0b014373b5c3658a8916bc327e8"),
    ),
    ModelSpec(
        name="vit_l_14_random",
        architecture="ViT-L-14-quickgelu",
        weights=_seeded("ee177de908c99ecf976a4cfca3fdc42b9c6a876dee25185c5101e896e46e181c"),
    ),
    ModelSpec(
        name="rn50_random",
        architecture="RN50-quickgelu",
        weights=_seeded("92c9ec42cd10741fd2a063e721b8fb681c786db0b0fa76a35faeedfcc5967df6"),
    ),
    ModelSpec(
        name="mobileclip_s1_random",
        architecture="MobileCLIP-S1",
        weights=_seeded("faf8d31f61a3c7b1e171ee7a095a5f9af3a166f38bae14238029b06a334714ab"),
        image_size=256,
    ),
    ModelSpec(
        name="mobileclip_s2_random",
        architecture="MobileCLIP-S2",
        weights=_seeded("457fb7668a98a68399a0244c9bb1ad9361c167a0c9561f5a5da67adbd83df029"),
        image_size=256,
    ),
    ModelSpec(
        name="siglip_b_16_random",
        architecture="ViT-B-16-SigLIP",
        weights=_seeded("d3090d826986a94663835c005f393e882f6c87fe4bfdd18c13ef2bb18326e2bf"),
        context=64,
        extra="siglip",
    ),
)
MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _ROWS}


def find(name: str) -> ModelSpec:
    """The model called *name*: a row of the catalog, or an open_clip architecture with weights of the user's choice.

    ``NAME:PRETRAINED`` takes open_clip's names, ``NAME:PATH`` a local weights file. Both import open_clip.

    Raises:
        UsageError: no such model, architecture, tag or file; the message has the close matches.
    """
    if name in MODELS:
        return MODELS[name]
    architecture, colon, source = name.partition(":")
    if not colon:
        msg = f"no model is called {name!r}{_close(name, MODELS)}; `clip-bench list` shows all, NAME:PATH takes a file"
        raise UsageError(msg)
    config = _config(architecture)
    path = Path(source).expanduser()
    if path.suffix in SUFFIXES:
        if not path.is_file():
            msg = f"{name!r}: there is no file {path}"
            raise UsageError(msg)
        return _spec(architecture, config, path.stem, Weights(kind="file", file=str(path)))
    known = (spec for spec in MODELS.values() if (spec.architecture, spec.pretrained) == (architecture, source))
    return next(known, None) or _tagged(architecture, config, source)


def slug(words: str) -> str:
    """*words* as a model name: [a-z0-9_]+, a word of another axis losing its last letter (``text`` to ``tex``)."""
    made = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    for taken in TAKEN:
        made = made.replace(taken, taken[:-1])
    return made


def _config(architecture: str) -> dict[str, Any]:
    """open_clip's description of *architecture*."""
    import open_clip

    known = open_clip.list_models()
    if architecture in known:
        config: dict[str, Any] = open_clip.get_model_config(architecture)
        return config
    msg = (
        f"open_clip has no architecture {architecture!r}{_close(architecture, known)}; open_clip.list_models() has all"
    )
    raise UsageError(msg)


def _tagged(architecture: str, config: dict[str, Any], tag: str) -> ModelSpec:
    """The architecture with the weights that open_clip calls *tag*."""
    from open_clip import pretrained

    found: dict[str, Any] = pretrained.get_pretrained_cfg(architecture, tag)
    if not found:
        tags = pretrained.list_pretrained_tags_by_model(architecture)
        msg = (
            f"open_clip has no weights {tag!r} for {architecture}{_close(tag, tags)}; it has: {', '.join(tags) or '-'}"
        )
        raise UsageError(msg)
    if found.get("quick_gelu", False) != config.get("quick_gelu", False):
        other = architecture.removesuffix("-quickgelu") if config.get("quick_gelu") else f"{architecture}-quickgelu"
        msg = f"{tag!r} was trained with another GELU than {architecture}: name it {other}:{tag}"
        raise UsageError(msg)
    repo, _, file = str(found.get("hf_hub", "")).rpartition("/")
    if not repo:
        msg = f"{architecture}:{tag} is not on the hub: fetch {found.get('url')} and name it {architecture}:PATH"
        raise UsageError(msg)
    return _spec(architecture, config, tag, Weights(kind="hub", repo=repo, file=file or SAFE), pretrained=tag)


def _spec(architecture: str, config: dict[str, Any], tag: str, weights: Weights, *, pretrained: str = "") -> ModelSpec:
    text = config["text_cfg"]
    size = config["vision_cfg"].get("image_size", 224)  # open_clip's defaults, as below
    if not isinstance(size, int):
        msg = f"{architecture} takes pictures of {size} pixels; only square ones are measured"
        raise UsageError(msg)
    return ModelSpec(
        name=slug(f"{architecture} {tag}"),
        architecture=architecture,
        pretrained=pretrained,
        weights=weights,
        image_size=size,
        context=text.get("context_length", 77),
        extra="siglip" if {"hf_tokenizer_name", "hf_model_name"} & set(text) else "",
    )


def _close(name: str, known: Any) -> str:  # noqa: ANN401  any collection of names
    matches = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(matches)}?)" if matches else ""
