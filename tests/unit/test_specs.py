"""Ids name a cell, word by word."""

import re
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.specs import Case, Device, ModelSpec, Precision, Rewrite, Target, Tower, Variant, Weights

SLUG = r"[a-z0-9_]+"
MODEL = ModelSpec(name="vit_b_32_openai", architecture="ViT-B-32-quickgelu", weights=Weights(kind="hub"))
CASE = Case(
    model=MODEL,
    tower=Tower.IMAGE,
    target=Target(backend="openvino", device=Device.NPU),
    precision=Precision.INT8_NNCF,
)

# Few words, some of them words of another axis, so that two ids meet wherever they can.
SLUGS = st.sampled_from(["a", "b_1", "cpu", "fp32", "compiled"])
TARGETS = st.builds(Target, backend=SLUGS, device=st.sampled_from(Device), provider=SLUGS | st.just(""))
CASES = st.builds(
    Case,
    model=SLUGS.map(lambda name: replace(MODEL, name=name)),
    tower=st.sampled_from(Tower),
    target=TARGETS,
    precision=st.sampled_from(Precision),
    variant=st.builds(Variant, compiled=st.booleans()),
)


def test_an_id_joins_tower_model_target_and_precision():
    assert CASE.id == str(CASE) == "image-vit_b_32_openai-openvino-npu-int8_nncf"


def test_a_provider_stands_between_backend_and_device():
    target = Target(backend="onnxruntime", provider="qnn", device=Device.EMULATED)

    assert str(target) == "onnxruntime-qnn-emulated"


def test_a_variant_adds_a_word_only_where_it_is_not_the_default():
    plain, compiled = CASE, replace(CASE, variant=Variant(compiled=True))

    assert str(plain.variant) == ""
    assert compiled.id == f"{plain.id}-compiled"


def test_several_rewrites_are_a_word_each():
    several = replace(CASE, variant=Variant(rewrites=(Rewrite.POOLED, Rewrite.FOLDED), batch=8))

    assert several.id == f"{CASE.id}-pooled-folded-batch8"


@pytest.mark.parametrize("tower", Tower, ids=["vision", "language", "fused"])
def test_what_a_rewrite_does_not_touch_is_the_other_tower(tower):
    left = {rewrite for rewrite in Rewrite if not rewrite.touches(tower)}

    assert left == {Tower.IMAGE: {Rewrite.TRIMMED}, Tower.TEXT: {Rewrite.FOLDED}, Tower.PAIR: set()}[tower]


@pytest.mark.parametrize("axis", [Tower, Device, Precision], ids=["towers", "devices", "precisions"])
def test_the_words_of_an_axis_are_slugs(axis):
    assert [word for word in axis if not re.fullmatch(SLUG, word)] == []


def test_no_word_of_one_axis_lies_inside_a_word_of_another():
    axes = (Tower, Device, Precision)

    inside = [
        (one, two) for a, b in combinations(axes, 2) for one in a for two in b if str(one) in two or str(two) in one
    ]

    assert inside == []


@given(case=CASES)
def test_an_id_is_slugs_joined_by_hyphens(case):
    assert re.fullmatch(f"{SLUG}(-{SLUG}){{4,6}}", case.id)


@given(one=CASES, two=CASES)
def test_two_cells_have_two_ids(one, two):
    assert (one.id == two.id) == (one == two)


def test_a_spec_is_derived_and_not_edited():
    other = replace(CASE, precision=Precision.FP32)

    assert CASE.precision is Precision.INT8_NNCF
    with pytest.raises(AttributeError):
        CASE.precision = other.precision


@pytest.mark.parametrize(
    ("kind", "trained"), [("embedded", True), ("hub", True), ("file", True), ("random", False)], ids=str
)
def test_random_weights_are_not_trained(kind, trained):
    assert replace(MODEL, weights=Weights(kind=kind)).trained is trained
