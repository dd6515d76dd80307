"""What others call a model, a tower, a batch or a precision is one of ours, or nothing."""

import open_clip
import pytest

from clip_bench.report import naming
from clip_bench.specs import Precision, Tower
from clip_bench.timing.roofline import architecture

NAMES = [
    ("ViT-B-32", ["OpenAI CLIP ViT-B/32", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "vit_base_patch32_clip_224"]),
    ("ViT-B-32", ["openai/clip-vit-base-patch32", "ViT-B-32::openai", "vit_base_patch32_clip_quickgelu_224.openai"]),
    ("ViT-B-32-256", ["laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K", "vit_base_patch32_clip_256"]),
    ("ViT-B-16", ["CLIP ViT-B/16", "openai/clip-vit-base-patch16", "vit_base_patch16_clip_224 (vision tower)"]),
    ("ViT-L-14", ["openai/clip-vit-large-patch14", "ViT-L/14", "vit_l_14", "laion400m ViT-L-14"]),
    ("ViT-L-14-336", ["ViT-L/14@336px", "openai/clip-vit-large-patch14-336", "ViT-L-14-336"]),
    ("ViT-H-14", ["laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "vit_huge_patch14_clip_224"]),
    ("ViT-H-14-378-quickgelu", ["apple/DFN5B-CLIP-ViT-H-14-378", "vit_huge_patch14_clip_378"]),
    ("ViT-g-14", ["ViT-g-14", "vit_giant_patch14_clip_224"]),
    ("ViT-bigG-14", ["laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", "vit_gigantic_patch14_clip_224"]),
]
OTHERS = [
    *("MobileCLIP-B (ViT-B/16 class)", "chinese-clip-vit-base-patch16", "ViT-B-16-SigLIP", "EVA02-B-16", "RN50"),
    *("ViT-B-16-plus-240", "coca_ViT-B-32", "xlm-roberta-base-ViT-B-32", "ViT-L-14-CLIPA", "ViT-S-32-alt", "CLIP", ""),
    *("ViT-B/14", "ViT-L-32", "vit_relpos_base_patch16_224"),
]


@pytest.mark.parametrize(("ours", "names"), NAMES, ids=range(len(NAMES)))
def test_every_way_to_name_a_model_gives_the_sizes_of_open_clip(ours, names):
    sizes = architecture(open_clip.get_model_config(ours))

    assert sizes.vision is not None
    assert {name: naming.model(name) for name in names} == dict.fromkeys(names, sizes)


@pytest.mark.parametrize("name", OTHERS, ids=range(len(OTHERS)))
def test_a_model_of_another_kind_is_not_taken_for_a_plain_one(name):
    assert naming.model(name) is None


@pytest.mark.parametrize(
    ("boundary", "towers"),
    [
        ("fused 1 image + 10 texts", (Tower.PAIR,)),
        ("Image tower", (Tower.IMAGE,)),
        ("vision tower", (Tower.IMAGE,)),
        ("text tower", (Tower.TEXT,)),
        ("server image / text", (Tower.IMAGE, Tower.TEXT)),
        ("texts, then vision and image", (Tower.TEXT, Tower.IMAGE)),
        ("zero-shot", ()),
    ],
    ids=range(7),
)
def test_a_boundary_names_its_towers(boundary, towers):
    assert naming.towers(boundary) == towers


@pytest.mark.parametrize(
    ("words", "batch"),
    [
        ("1", (1, 0)),
        ("1024", (1024, 0)),
        ("1+10", (1, 10)),
        (" 2 + 3 ", (2, 3)),
        ("0", None),
        ("?", None),
        ("8x", None),
    ],
    ids=range(7),
)
def test_a_batch_is_samples_and_what_stands_beside_them(words, batch):
    assert naming.batch(words) == batch


@pytest.mark.parametrize(
    ("words", "precisions"),
    [
        ("fp32", [Precision.FP32]),
        ("float", [Precision.FP16]),
        ("float32", [Precision.FP32]),
        ("amp fp16", [Precision.FP16]),
        ("fp16?", [Precision.FP16]),
        ("bfloat16", [Precision.BF16]),
        ("w8a16", [Precision.A16W8]),
        ("int8 NNCF", [Precision.INT8_QDQ]),
        ("fp16 -> int8 (NNCF)", [Precision.FP16, Precision.INT8_QDQ]),
        ("fp16, half: fp16", [Precision.FP16]),
        ("-", []),
    ],
    ids=range(11),
)
def test_a_claim_names_its_precisions(words, precisions):
    assert list(naming.precisions(words)) == precisions
