"""The work of a rewritten call is what it still has to do."""

import pytest

from clip_bench.models import shapes_tiny
from clip_bench.specs import Precision, Rewrite, Tower
from clip_bench.timing import lessened, roofline

SIZES = roofline.architecture(shapes_tiny.CONFIG)
WIDTH, LAYERS, CONTEXT, VISION_LAYERS, VISION_TOKENS, PICTURE = 128, 3, 24, 4, 65, 3 * 64 * 64


def work(tower, *rewrites, **call):
    return lessened.work(SIZES, tower, Precision.FP32, rewrites, **call)


@pytest.mark.parametrize("tower", Tower, ids=["vision", "language", "fused"])
def test_without_rewrites_it_is_that_of_the_roofline(tower):
    assert work(tower) == roofline.work(SIZES, tower, Precision.FP32)
    assert work(tower, Rewrite.OPTIMISED) == work(tower)


def test_half_the_tokens_are_half_the_work_but_for_the_square_of_attention_and_the_last_product():
    projection = 2 * WIDTH * 128
    square = LAYERS * 4 * WIDTH

    whole, cut = (work(Tower.TEXT, Rewrite.TRIMMED, tokens=tokens).flops for tokens in (CONTEXT, CONTEXT // 2))

    rest = whole - projection - square * CONTEXT**2
    assert cut == projection + rest / 2 + square * (CONTEXT // 2) ** 2
    assert whole == work(Tower.TEXT).flops


def test_one_row_of_the_last_block_leaves_out_the_others_but_their_keys_and_values():
    rows = VISION_TOKENS - 1
    left_out = 2 * rows * (2 * WIDTH**2 + 8 * WIDTH**2 + 2 * VISION_TOKENS * WIDTH)

    assert work(Tower.IMAGE).flops - work(Tower.IMAGE, Rewrite.POOLED).flops == left_out


def test_pixels_are_a_quarter_of_the_bytes():
    saved = work(Tower.IMAGE, batch=8).bytes - work(Tower.IMAGE, Rewrite.FOLDED, batch=8).bytes

    assert saved == 8 * 3 * PICTURE


def test_what_has_no_closed_form_stays_so():
    none = roofline.Sizes(vision=None, text=None)

    assert lessened.work(none, Tower.IMAGE, Precision.FP32, (Rewrite.POOLED, Rewrite.FOLDED)) is None


def test_the_settings_of_a_call_are_those_of_the_roofline():
    called = {"batch": 3, "texts": 7}

    assert work(Tower.PAIR, **called) == roofline.work(SIZES, Tower.PAIR, Precision.FP32, **called)
    assert work(Tower.PAIR) == roofline.work(SIZES, Tower.PAIR, Precision.FP32, batch=1, texts=10)


def test_bytes_as_pixels_change_no_product():
    assert work(Tower.IMAGE, Rewrite.FOLDED).flops == work(Tower.IMAGE).flops


def test_one_tower_alone_is_lessened_too():
    lone = roofline.Sizes(vision=None, text=SIZES.text)

    assert lessened.work(lone, Tower.TEXT, Precision.FP32, (Rewrite.FOLDED,)) == work(Tower.TEXT)
    assert lessened.work(lone, Tower.IMAGE, Precision.FP32, (Rewrite.FOLDED,)) is None


def test_one_row_of_the_last_block_of_words_attends_to_the_whole_square_elsewhere():
    rows = CONTEXT - 1
    left_out = 2 * rows * (2 * WIDTH**2 + 8 * WIDTH**2 + 2 * CONTEXT * WIDTH)

    assert work(Tower.TEXT).flops - work(Tower.TEXT, Rewrite.POOLED).flops == left_out
