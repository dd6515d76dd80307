"""The words of an id choose a cell for each tower."""

from dataclasses import replace

import pytest

from clip_bench import backends, cases, matrix
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.specs import Tower


@pytest.fixture(scope="module")
def choose(small):
    """The ids that the words choose."""
    found = backends.discover()

    def chosen(words="", target="", precision="", models=()):
        settings = replace(small, models=models)
        both = cases.choose(settings, found, words, target, precision)
        return both.image.id, both.text.id

    return chosen


@pytest.mark.parametrize(
    ("given", "picture", "label"),
    [
        ({}, "image-shapes_tiny-torch-cpu-fp32", "text-shapes_tiny-torch-cpu-fp32"),
        (
            {"words": "openvino-cpu-int8_nncf"},
            "image-shapes_tiny-openvino-cpu-int8_nncf",
            "text-shapes_tiny-openvino-cpu-int8_nncf",
        ),
        (
            {"words": "image-shapes_tiny-onnxruntime-cpu-int8_qdq"},
            "image-shapes_tiny-onnxruntime-cpu-int8_qdq",
            "text-shapes_tiny-torch-cpu-fp32",
        ),
        (
            {"words": "text-onnxruntime-cpu"},
            "image-shapes_tiny-torch-cpu-fp32",
            "text-shapes_tiny-onnxruntime-cpu-fp32",
        ),
        ({"words": "pair-onnxruntime-cpu"}, *["pair-shapes_tiny-onnxruntime-cpu-fp32"] * 2),
        ({"precision": "bf16"}, "image-shapes_tiny-torch-cpu-bf16", "text-shapes_tiny-torch-cpu-bf16"),
        (
            {"target": "onnxruntime-cpu", "models": ("vit_b_32_random",)},
            "image-vit_b_32_random-onnxruntime-cpu-fp32",
            "text-vit_b_32_random-onnxruntime-cpu-fp32",
        ),
        ({"words": "vit_b_32_random"}, "image-vit_b_32_random-torch-cpu-fp32", "text-vit_b_32_random-torch-cpu-fp32"),
        (
            {"words": "compiled"},
            "image-shapes_tiny-torch-cpu-fp32-compiled",
            "text-shapes_tiny-torch-cpu-fp32-compiled",
        ),
        (
            {"words": "openvino-cpu-fp32-trimmed"},
            "image-shapes_tiny-openvino-cpu-fp32",
            "text-shapes_tiny-openvino-cpu-fp32-trimmed",
        ),
        (
            {"words": "openvino-cpu-bf16-folded-pooled-trimmed"},
            "image-shapes_tiny-openvino-cpu-bf16-pooled-folded",
            "text-shapes_tiny-openvino-cpu-bf16-trimmed-pooled",
        ),
        (
            {"words": "image-openvino-cpu-fp32-folded"},
            "image-shapes_tiny-openvino-cpu-fp32-folded",
            "text-shapes_tiny-torch-cpu-fp32",
        ),
    ],
    ids=list("abcdefghijkl"),
)
def test_the_plainest_cell_with_the_words_is_taken(choose, given, picture, label):
    assert choose(**given) == (picture, label)


def test_words_that_no_cell_has_are_refused(choose):
    with pytest.raises(UsageError, match=r"no cell of shapes_tiny is gpu-pentium: none is like it; clip-bench list"):
        choose("gpu-pentium")


def test_a_slip_of_the_pen_is_told_what_is_like_it(choose):
    with pytest.raises(UsageError, match=r"is image-shapes_tiny-torhc-cpu-fp32: image-shapes_tiny-torch-cpu-fp32, "):
        choose("image-shapes_tiny-torhc-cpu-fp32")


def test_the_target_that_computes_nothing_has_no_answer(choose):
    with pytest.raises(UsageError, match="no cell of shapes_tiny is null"):
        choose("null")


def test_words_of_several_cells_ask_for_one_more(choose):
    with pytest.raises(UsageError, match=r"image cells have these words: .*; say one more"):
        choose("onnxruntime-gpu-fp16")


def test_a_target_without_a_cell_of_one_tower_answers_nothing(choose, monkeypatch):
    every = matrix.cells
    monkeypatch.setattr(matrix, "cells", lambda *given: [each for each in every(*given) if each.tower is Tower.IMAGE])

    with pytest.raises(UsageError, match="no text cell has these words, and both towers are needed; clip-bench list"):
        choose("openvino-cpu-fp32")


def test_two_models_are_one_too_many(choose):
    with pytest.raises(UsageError, match="one model answers, not 2"):
        choose(models=("shapes_tiny", "vit_b_32_random"))


def test_what_this_machine_lacks_is_told(choose):
    with pytest.raises(UnavailableError, match="image-shapes_tiny-sophon-npu-fp16: "):
        choose("sophon-npu")


def test_what_has_learnt_nothing_is_marked_for_people(small):
    found = backends.discover()
    random, trained = (
        cases.choose(replace(small, models=(name,)), found, "", "", "") for name in ("vit_b_32_random", "shapes_tiny")
    )

    assert random.name == "image-vit_b_32_random-torch-cpu-fp32"
    assert random.marked == "image-vit_b_32_random-torch-cpu-fp32 (random weights)"
    assert random.title == "vit_b_32_random-torch-cpu-fp32 (random weights)"
    assert trained.title == "shapes_tiny-torch-cpu-fp32"
    assert trained.marked == trained.name


def test_a_title_has_what_the_towers_share_and_each_rewrite(small):
    words = "openvino-cpu-fp32-trimmed-folded-pooled"
    towers, whole, one = (
        cases.choose(small, backends.discover(), each, "", "") for each in (words, "pair", "image-onnxruntime-cpu")
    )

    assert towers.title == "shapes_tiny-openvino-cpu-fp32-trimmed-pooled-folded"
    assert whole.title == whole.name == "pair-shapes_tiny-torch-cpu-fp32"
    assert one.title == one.name == "image-shapes_tiny-onnxruntime-cpu-fp32, text-shapes_tiny-torch-cpu-fp32"
