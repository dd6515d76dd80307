"""What open_clip's description of a model makes of its two towers: defaults, odd weights, and what has no closed form."""

import pytest

from clip_bench.errors import UsageError
from clip_bench.record import Work
from clip_bench.specs import Precision, Tower
from clip_bench.timing import roofline
from clip_bench.timing.roofline import Bound, Ceiling, Transformer, Word, architecture, verdict, work

PLAIN = {"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}}


def described(vision=None, text=None, **whole):
    return architecture({**PLAIN, "vision_cfg": vision or {}, "text_cfg": text or {}, **whole})


def gflops(sizes, tower, **call):
    return round(work(sizes, tower, Precision.FP32, **call).flops / 1e9, 2)


def test_a_description_that_tells_nothing_is_that_of_vit_b_16():
    """Published: 35.13 and 5.96 GFLOPs, 86.19 and 63.43 million parameters."""
    sizes = described()

    assert (gflops(sizes, Tower.IMAGE), gflops(sizes, Tower.TEXT)) == (35.13, 5.96)
    assert round(sizes.vision.parameters / 1e6, 2) == 86.19
    assert round(sizes.text.parameters / 1e6, 2) == 63.43
    assert (sizes.vision.image_size, sizes.text.vocabulary) == (224, 49408)


def test_each_size_that_is_told_is_taken():
    vision = {"image_size": 96, "patch_size": 8, "width": 64, "layers": 3, "mlp_ratio": 2.5, "head_width": 16}
    text = {"context_length": 9, "vocab_size": 99, "width": 32, "heads": 2, "layers": 5, "mlp_ratio": 3.0}

    sizes = architecture({"embed_dim": "24", "vision_cfg": vision, "text_cfg": text})

    assert sizes.vision == roofline.Vision(
        image_size=96, patch=8, stack=Transformer(tokens=145, width=64, layers=3, hidden=160), embed=24
    )
    assert sizes.text == roofline.Text(
        vocabulary=99, stack=Transformer(tokens=9, width=32, layers=5, hidden=96, causal=True), embed=24
    )


def test_what_is_left_of_a_picture_beside_its_patches_is_no_token():
    assert described({"image_size": 100, "patch_size": 16}).vision.stack.tokens == 6 * 6 + 1


@pytest.mark.parametrize(
    "field", ["act_kwargs", "norm_kwargs", "pool_type", "final_ln_after_pool", "output_tokens", "ls_init_value"]
)
def test_what_changes_no_product_leaves_a_closed_form(field):
    sizes = described({field: None}, {field: None})

    assert gflops(sizes, Tower.PAIR) == gflops(described(), Tower.PAIR)


@pytest.mark.parametrize("field", ["hf_tokenizer_name", "tokenizer_kwargs", "eos_id", "pad_id"])
def test_a_tokenizer_of_another_kind_leaves_a_closed_form_of_the_words(field):
    assert described({}, {field: "x"}).text == described().text
    assert described({field: "x"}).vision is None


@pytest.mark.parametrize(
    "field", ["quick_gelu", "custom_text", "init_logit_bias", "init_logit_scale"], ids=["gelu", "own", "bias", "scale"]
)
def test_fields_of_the_whole_that_change_no_product(field):
    assert described(**{field: 1}) == described()


@pytest.mark.parametrize(
    ("vision", "text", "whole", "left"),
    [
        ({"timm_model_name": "x"}, {}, {}, {"text"}),
        ({"attentional_pool": True}, {}, {}, {"text"}),
        ({"layers": [3, 4, 6, 3]}, {}, {}, {"text"}),
        ({"image_size": [224, 192]}, {}, {}, {"text"}),
        ({"output_tokens": True}, {}, {}, {"text"}),
        ({}, {"hf_model_name": "x"}, {}, {"vision"}),
        ({}, {"embed_cls": True}, {}, {"vision"}),
        ({}, {"output_tokens": True}, {}, {"vision"}),
        ({}, {}, {"multimodal_cfg": {}}, set()),
    ],
    ids=["timm", "pooling", "resnet", "oblong", "tokens", "hugging_face", "class_token", "words_out", "decoder"],
)
def test_what_may_change_a_product_has_no_closed_form(vision, text, whole, left):
    sizes = described(vision, text, **whole)

    assert {name for name in ("vision", "text") if getattr(sizes, name) is not None} == left


def test_odd_weights_are_counted():
    plain = described()
    odd = described({"no_ln_pre": True, "ls_init_value": 1e-5}, {"proj_bias": True, "ls_init_value": 1e-5})

    assert odd.vision.parameters - plain.vision.parameters == 2 * 12 * 768 - 2 * 768
    assert odd.text.parameters - plain.text.parameters == 2 * 12 * 512 + 512
    assert odd.text.read - plain.text.read == 2 * 12 * 512 + 512


def test_what_is_chosen_and_masked_is_told_by_the_description():
    sizes = described({"pool_type": "avg"}, {"pool_type": "avg", "no_causal_mask": True})

    assert (sizes.vision.stack.pooled, sizes.text.stack.pooled, sizes.text.stack.causal) == (False, False, False)
    assert [each.stack.pooled for each in (described().vision, described().text)] == [True, True]
    assert not described().vision.stack.causal


SMALL = Transformer(tokens=5, width=4, layers=3, hidden=6)


def test_a_stack_is_counted_product_by_product():
    """Three layers of five rows: q, k, v and the projection, two of the MLP, and twice the square of attention."""
    layer = 5 * (4 * 16 + 2 * 24) + 2 * 25 * 4

    assert SMALL.flops == 2 * 3 * layer
    assert SMALL.parameters == 3 * (4 * (16 + 4) + (24 + 6) + (24 + 4) + 2 * (4 + 4))


@pytest.mark.parametrize("causal", [False, True], ids=["whole", "masked"])
def test_the_least_of_a_stack_leaves_out_what_no_answer_needs(causal):
    """Two whole layers; of the last one row, and the keys and values of the other four."""
    stack = Transformer(tokens=5, width=4, layers=3, hidden=6, causal=causal)
    square = 15 if causal else 25
    whole = 5 * (64 + 48) + 2 * square * 4
    last = (64 + 48) + 2 * 5 * 4 + 4 * 2 * 16

    assert stack.least_flops == 2 * (2 * whole + last)


def test_a_stack_of_which_all_rows_count_leaves_out_its_mask_alone():
    stack = Transformer(tokens=5, width=4, layers=3, hidden=6, causal=True, pooled=False)

    assert SMALL.flops - stack.least_flops == 2 * 3 * 2 * (25 - 15) * 4


def tiny():
    vision = {"image_size": 8, "patch_size": 4, "width": 4, "layers": 2, "mlp_ratio": 2.0}
    text = {"context_length": 7, "vocab_size": 5, "width": 6, "layers": 1, "mlp_ratio": 2.0}
    return architecture({"embed_dim": 3, "vision_cfg": vision, "text_cfg": text})


def test_a_call_of_each_tower_written_out():
    sizes = tiny()
    vision, text = sizes.vision, sizes.text

    assert vision.parameters == 3 * 16 * 4 + (5 + 1) * 4 + 2 * 4 * 2 + 4 * 3 + vision.stack.parameters
    assert vision.around == 2 * (4 * 3 * 16 * 4 + 4 * 3)
    assert vision.values == 3 * 64 + 3
    assert text.parameters == (5 + 7 + 2 + 3) * 6 + text.stack.parameters
    assert text.read == text.parameters
    assert (text.around, text.values) == (2 * 6 * 3, 7 + 3)


def test_one_call_of_both_is_the_sum_and_the_products_of_all_with_all():
    sizes = tiny()
    vision, text = sizes.vision, sizes.text

    both = work(sizes, Tower.PAIR, Precision.FP16, batch=2, texts=3, io_bytes=2)

    flops = 2 * (vision.around + vision.stack.flops) + 3 * (text.around + text.stack.flops) + 2 * 2 * 3 * 3
    assert both.flops == flops
    weights, moved = vision.parameters + text.read, 2 * vision.values + 3 * text.values + 2 * 2 * 3
    assert both.bytes == 2 * weights + 2 * moved


def test_defaults_are_one_sample_ten_sentences_and_floats():
    sizes = tiny()

    assert work(sizes, Tower.PAIR, Precision.FP32) == work(
        sizes, Tower.PAIR, Precision.FP32, batch=1, texts=10, io_bytes=4, least=False
    )
    assert work(sizes, Tower.TEXT, Precision.FP32, batch=4).flops == 4 * (sizes.text.around + sizes.text.stack.flops)
    assert work(sizes, Tower.IMAGE, Precision.FP32, least=True).flops == (
        sizes.vision.around + sizes.vision.stack.least_flops
    )


def test_one_tower_is_counted_where_the_other_has_no_closed_form():
    lone = described({}, {"hf_model_name": "x"})

    assert gflops(lone, Tower.IMAGE) == 35.13
    assert work(lone, Tower.TEXT, Precision.FP32) is None
    assert work(lone, Tower.PAIR, Precision.FP32) is None


def test_a_call_without_samples_is_refused_in_words():
    with pytest.raises(UsageError) as refused:
        work(tiny(), Tower.IMAGE, Precision.FP32, batch=0, texts=4)

    assert str(refused.value) == ("a call has at least one sample, not a batch of 0 with 4 texts: give both from 1 on")


def test_a_ceiling_that_is_none_is_refused_in_words():
    with pytest.raises(UsageError) as refused:
        Ceiling(0.0, 2.0, "a device")

    assert str(refused.value) == ("a device: a ceiling is positive and its FLOP/s finite, not 0.0 FLOP/s, 2.0 B/s")


@pytest.mark.parametrize(("flops", "seconds"), [(0.0, 1.0), (1.0, 0.0)], ids=["no_work", "no_time"])
def test_no_work_and_no_time_are_refused_in_words(flops, seconds):
    with pytest.raises(UsageError) as refused:
        verdict(Work(flops=flops, bytes=1.0), seconds, Ceiling(1.0, 1.0, "a device"))

    assert str(refused.value) == (
        f"a verdict needs a positive time and work, not {seconds} s for {flops} FLOPs: measure the cell again"
    )


def test_a_verdict_is_told_in_figures():
    told = verdict(Work(flops=8.0, bytes=2.0), 4.0, Ceiling(4.0, 2.0, "a device"))

    assert (told.flops_s, told.bound, told.bound_s, told.share) == (2.0, Bound.COMPUTE, 2.0, 0.5)
    assert told.word is Word.PLAUSIBLE


def test_where_both_roofs_are_as_low_the_work_is_bound_by_its_products():
    assert verdict(Work(flops=8.0, bytes=4.0), 4.0, Ceiling(4.0, 2.0, "a device")).bound is Bound.COMPUTE


@pytest.mark.parametrize(
    ("seconds", "word"),
    [(1.0, Word.PLAUSIBLE), (0.999, Word.IMPOSSIBLE), (12.5, Word.PLAUSIBLE), (12.51, Word.FALLBACK)],
    ids=["margin", "beyond_the_margin", "slowest", "slower"],
)
def test_a_word_changes_past_its_bound(seconds, word):
    """Two seconds of work, a margin of two, five bounds and 2.5 s for the call."""
    amount, device = Work(flops=2.0, bytes=0.0), Ceiling(1.0, 1.0, "a device")

    assert verdict(amount, seconds, device, margin=2.0, factor=5.0, overhead_s=2.5).word is word


def test_only_the_bytes_beyond_the_cache_make_a_time_impossible():
    amount = Work(flops=1.0, bytes=10.0)

    words = [verdict(amount, 4.0, Ceiling(1.0, 1.0, "a device", cache_bytes=cache)).word for cache in (5.7, 5.5)]

    assert words == [Word.PLAUSIBLE, Word.IMPOSSIBLE]
