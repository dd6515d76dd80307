"""The catalog is data that agrees with open_clip, and a lookup that says what is near."""

import json
import re
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest

from clip_bench.errors import UsageError
from clip_bench.models import catalog

SPECS = list(catalog.MODELS.values())
FROM_OPEN_CLIP = [spec for spec in SPECS if spec.name != "shapes_tiny"]
NAMES = [spec.name for spec in FROM_OPEN_CLIP]


@pytest.mark.parametrize("name", catalog.MODELS)
def test_names_hold_no_word_of_another_axis(name):
    assert re.fullmatch("[a-z0-9_]+", name)
    assert not [word for word in (*catalog.TAKEN, "ort") if word in name]


@pytest.mark.parametrize("spec", FROM_OPEN_CLIP, ids=NAMES)
def test_sizes_are_those_of_the_architecture(spec):
    config = open_clip.get_model_config(spec.architecture)

    assert spec.image_size == config["vision_cfg"]["image_size"]
    assert spec.context == config["text_cfg"]["context_length"]
    assert (spec.extra == "siglip") == ("hf_tokenizer_name" in config["text_cfg"])


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.weights.kind == "hub"], ids=lambda spec: spec.name)
def test_hub_rows_are_those_of_open_clip(spec):
    row = open_clip.pretrained.get_pretrained_cfg(spec.architecture, spec.pretrained)

    assert row["hf_hub"] == f"{spec.weights.repo}/"
    assert spec.weights.file == open_clip.constants.HF_SAFE_WEIGHTS_NAME
    assert row.get("quick_gelu", False) == open_clip.get_model_config(spec.architecture).get("quick_gelu", False)


@pytest.mark.parametrize("spec", SPECS, ids=catalog.MODELS)
def test_hashes_and_revisions_are_whole_and_come_together(spec):
    assert re.fullmatch("([0-9a-f]{64})?", spec.weights.sha256)
    assert re.fullmatch("main|[0-9a-f]{40}", spec.weights.revision)
    assert spec.trained != (spec.weights.kind == "random")
    if spec.weights.kind == "hub":
        assert bool(spec.weights.sha256) == (spec.weights.revision != "main")


def test_every_downloaded_architecture_has_a_seeded_twin():
    families = {spec.architecture.removesuffix("-quickgelu") for spec in SPECS if spec.weights.kind == "hub"}
    twins = {spec.architecture.removesuffix("-quickgelu") for spec in SPECS if spec.weights.kind == "random"}

    assert families == twins


def test_a_catalog_name_is_found_without_a_runtime():
    code = (
        "import json, sys; from clip_bench.models import catalog; catalog.find('vit_b_32_openai');"
        "print(json.dumps([m for m in ('torch', 'open_clip', 'huggingface_hub', 'numpy') if m in sys.modules]))"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603

    assert json.loads(done.stdout) == []


def test_an_open_clip_tag_becomes_a_model():
    spec = catalog.find("ViT-B-32:laion2b_e16")

    assert spec.name == "vit_b_32_laion2b_e16"
    assert spec.weights.repo == "timm/vit_base_patch32_clip_224.laion2b_e16"
    assert (spec.image_size, spec.context, spec.pretrained) == (224, 77, "laion2b_e16")


def test_an_open_clip_tag_of_the_catalog_is_the_catalog_row():
    assert catalog.find("ViT-B-32-quickgelu:openai") is catalog.MODELS["vit_b_32_openai"]


def test_a_local_file_becomes_a_model(tmp_path):
    path = tmp_path / "My run-7.safetensors"
    path.touch()

    spec = catalog.find(f"ViT-B-16-SigLIP:{path}")

    assert (spec.name, spec.extra, spec.context) == ("vit_b_16_siglip_my_run_7", "siglip", 64)
    assert (spec.weights.kind, Path(spec.weights.file)) == ("file", path)


def test_a_slug_holds_no_word_of_another_axis():
    assert catalog.slug("ViT-B-32 commonpool_m_text_s128m") == "vit_b_32_commonpool_m_tex_s128m"
    assert catalog.slug("open_clip_pytorch_model") == "open_clip_pytorc_model"
    assert not [word for word in catalog.TAKEN if word in catalog.slug("-".join(catalog.TAKEN))]


def test_weights_that_are_not_on_the_hub_are_named_with_their_address(monkeypatch):
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED["ViT-B-32"], "elsewhere", {"url": "https://example.org/a.pt", "hf_hub": ""}
    )

    with pytest.raises(UsageError, match=r"not on the hub: fetch https://example\.org/a\.pt and name it ViT-B-32:PATH"):
        catalog.find("ViT-B-32:elsewhere")


def test_an_architecture_whose_pictures_are_not_square_is_refused(tmp_path, monkeypatch):
    wide = open_clip.get_model_config("ViT-B-32")
    wide["vision_cfg"]["image_size"] = [224, 112]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Wide-B-32", wide)
    (tmp_path / "a.pt").touch()

    with pytest.raises(UsageError, match=r"takes pictures of \[224, 112\] pixels; only square ones are measured"):
        catalog.find(f"Wide-B-32:{tmp_path / 'a.pt'}")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vit_b_32_opena", "did you mean vit_b_32_openai"),
        ("nothing_like_it", "clip-bench list"),
        ("ViT-B-33:openai", "did you mean ViT-B-32"),
        ("ViT-B-32:laion2b_s34b", "did you mean laion2b_s34b_b79k"),
        ("ViT-B-32:openai", "name it ViT-B-32-quickgelu:openai"),
        ("ViT-B-32:gone/away.safetensors", "there is no file"),
    ],
    ids=["typo", "unknown", "architecture", "tag", "gelu", "file"],
)
def test_an_unknown_name_gets_one_line_of_help(name, says):
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        catalog.find(name)

    assert "\n" not in str(caught.value)
