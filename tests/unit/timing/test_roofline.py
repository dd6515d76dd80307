"""What is claimed of the work of a tower, and of a verdict on a time."""

import csv
import dataclasses
import math
from itertools import pairwise
from pathlib import Path

import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.models import catalog, shapes_tiny
from clip_bench.record import Work
from clip_bench.specs import Precision, Tower
from clip_bench.timing.roofline import (
    FALLBACK_FACTOR,
    MARGIN,
    OVERHEAD_S,
    WEIGHT_BYTES,
    Bound,
    Ceiling,
    Sizes,
    Word,
    architecture,
    verdict,
    work,
)

# GFLOPs and millions of parameters of both towers, from open_clip's docs/model_profile.csv.
PROFILE = {
    "ViT-S-32-alt": (2.29, 22.59, 1.27, 20.63),
    "ViT-M-16-alt": (15.98, 38.53, 3.38, 40.44),  # its layers have scales
    "ViT-B-32": (8.82, 87.85, 5.96, 63.43),
    "ViT-B-32-256": (11.5, 87.86, 5.96, 63.43),
    "ViT-B-16": (35.13, 86.19, 5.96, 63.43),
    "ViT-B-16-plus-240": (54.76, 117.21, 9.27, 91.16),
    "ViT-L-14": (162.03, 303.97, 13.3, 123.65),
    "ViT-L-14-336": (381.92, 304.29, 13.3, 123.65),
    "ViT-L-14-CLIPA": (162.03, 303.96, 5.47, 110.25),  # no first norm, another vocabulary, 32 tokens
    "ViT-H-14": (334.59, 632.08, 47.09, 354.03),
    "ViT-g-14": (534.06, 1012.65, 47.09, 354.03),
    "ViT-bigG-14": (967.5, 1844.91, 97.86, 694.66),
}
PARTLY = ["RN50", "MobileCLIP-S1", "ViT-B-16-SigLIP", "EVA02-B-16", "convnext_base", "roberta-ViT-B-32"]
SIZES = architecture(shapes_tiny.CONFIG)
TOWERS = st.sampled_from(list(Tower))
PRECISIONS = st.sampled_from(list(Precision))
COUNT = st.integers(min_value=1, max_value=512)
AMOUNT = st.floats(min_value=1.0, max_value=1e15)
SECONDS = st.floats(min_value=1e-9, max_value=1e4)
CEILINGS = st.builds(
    Ceiling,
    flops_s=st.floats(min_value=1e6, max_value=1e16),
    bytes_s=st.floats(min_value=1e6, max_value=1e13) | st.just(math.inf),
    source=st.just("drawn"),
    cache_bytes=st.floats(min_value=0, max_value=1e10),
)
WORKS = st.builds(Work, flops=AMOUNT, bytes=AMOUNT)
ORDER = list(Word)


def sizes(name):
    return architecture(open_clip.get_model_config(name))


def told(figures, name, profile):
    """Whether both towers of *figures* are those of *profile*, to its two decimals; None: nothing is told."""
    vision, text = figures.vision, figures.text
    mine = {
        "image_gflops": vision and work(figures, Tower.IMAGE, Precision.FP32).flops / 1e9,
        "image_mparams": vision and vision.parameters / 1e6,
        "text_gflops": text and work(figures, Tower.TEXT, Precision.FP32).flops / 1e9,
        "text_mparams": text and text.parameters / 1e6,
    }
    return {
        f"{name} {column}": (round(value, 4), profile[column])
        for column, value in mine.items()
        if value is not None and abs(value - float(profile[column])) > 0.00501
    }


@pytest.mark.parametrize("name", PROFILE)
def test_flops_and_parameters_are_those_that_open_clip_publishes(name):
    columns = ("image_gflops", "image_mparams", "text_gflops", "text_mparams")

    figures = sizes(name)

    assert None not in {figures.vision, figures.text}
    assert told(figures, name, dict(zip(columns, PROFILE[name], strict=True))) == {}


def test_every_row_of_the_published_profile_holds_where_there_is_a_closed_form(request):
    path = Path(request.config.rootpath).parent / "shared" / "facts" / "model_profile.csv"
    if not path.is_file():
        pytest.skip("needs ../shared/facts/model_profile.csv beside the repository: open_clip's docs/model_profile.csv")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))

    found = {row["model"]: (architecture(config), row) for row in rows if (config := config_of(row["model"]))}

    assert sum(figures.vision is not None for figures, _ in found.values()) > 30
    assert {name: wrong for name, (figures, row) in found.items() if (wrong := told(figures, name, row))} == {}


def config_of(name):
    return open_clip.get_model_config(name) if name in open_clip.list_models() else None


@pytest.mark.parametrize("name", PARTLY)
def test_a_tower_without_closed_form_is_not_guessed(name):
    figures = sizes(name)

    lacking = {Tower.PAIR, Tower.TEXT if name.startswith("roberta") else Tower.IMAGE}
    assert {tower for tower in Tower if work(figures, tower, Precision.FP32) is None} == lacking


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "coca_roberta-ViT-B-32", "nllb-clip-base-siglip"])
def test_a_model_of_another_kind_has_none_at_all(name):
    assert sizes(name) == Sizes(vision=None, text=None)


def test_every_architecture_of_the_catalog_can_be_asked():
    names = {spec.architecture for spec in catalog.MODELS.values()} - {"shapes_tiny"}

    assert {name for name in names if sizes(name).text is None} == set()
    assert {name for name in names if sizes(name).vision is None} == {
        "RN50-quickgelu",
        "MobileCLIP-S1",
        "MobileCLIP-S2",
        "ViT-B-16-SigLIP",
    }


def test_the_embedded_model_is_counted_to_its_last_weight():
    model = shapes_tiny.architecture()

    counted = sum(weight.numel() for weight in model.parameters())

    assert SIZES.vision.parameters + SIZES.text.parameters + model.logit_scale.numel() == counted


def test_one_call_of_both_towers_is_a_picture_and_ten_sentences():
    both, vision, words = (work(SIZES, tower, Precision.FP32) for tower in (Tower.PAIR, Tower.IMAGE, Tower.TEXT))

    assert both.flops == vision.flops + 10 * words.flops + 2 * 10 * SIZES.vision.embed
    assert vision.bytes < both.bytes < vision.bytes + 10 * words.bytes


def test_of_the_token_table_only_the_rows_in_use_are_read():
    words = work(SIZES, Tower.TEXT, Precision.FP32)

    unread = (SIZES.text.vocabulary - SIZES.text.stack.tokens) * SIZES.text.stack.width
    moved = SIZES.text.stack.tokens + SIZES.text.embed
    assert words.bytes == 4 * (SIZES.text.parameters - unread + moved)


@given(TOWERS, PRECISIONS, COUNT, COUNT)
def test_flops_grow_with_the_batch_and_weights_are_read_once(tower, precision, batch, texts):
    one = work(SIZES, tower, precision, texts=texts)

    many = work(SIZES, tower, precision, batch=batch, texts=texts)

    if tower is not Tower.PAIR:
        assert many.flops == batch * one.flops
    assert one.bytes <= many.bytes <= batch * one.bytes
    assert many.flops >= one.flops


@given(TOWERS, PRECISIONS, COUNT)
def test_narrow_weights_move_less_and_compute_the_same(tower, precision, batch):
    wide, narrow = (work(SIZES, tower, each, batch=batch) for each in (Precision.FP32, precision))

    assert narrow.flops == wide.flops
    assert narrow.bytes <= wide.bytes


def test_every_precision_has_a_width():
    assert set(WEIGHT_BYTES) == set(Precision)


@pytest.mark.parametrize(("name", "most"), [("ViT-B-32", 0.075), ("ViT-L-14", 0.04)])
def test_what_an_exact_rewrite_could_leave_out_lies_within_the_margin(name, most):
    whole, least = (work(sizes(name), Tower.IMAGE, Precision.FP32, least=least).flops for least in (False, True))

    assert 0 < 1 - least / whole < most
    assert whole / least < MARGIN


def test_the_least_work_is_what_the_last_layer_of_the_one_chosen_token_needs():
    """Written out for a stack of one layer: keys and values of all, everything else of one."""
    stack = dataclasses.replace(SIZES.text.stack, layers=1)
    w, h, t = stack.width, stack.hidden, stack.tokens

    assert stack.least_flops == 2 * (t * 2 * w * w + 2 * w * w + 2 * w * h + 2 * t * w)
    assert dataclasses.replace(stack, causal=False, pooled=False).least_flops == stack.flops


@pytest.mark.parametrize(("batch", "texts"), [(0, 10), (1, 0), (-1, 1)], ids=["none", "silent", "negative"])
def test_a_call_without_samples_is_refused(batch, texts):
    with pytest.raises(UsageError, match="at least one sample"):
        work(SIZES, Tower.PAIR, Precision.FP32, batch=batch, texts=texts)


@settings(deadline=None)
@given(WORKS, SECONDS, SECONDS, CEILINGS)
def test_a_longer_time_is_never_called_faster(amount, one, other, ceiling):
    short, long = (verdict(amount, seconds, ceiling) for seconds in sorted((one, other)))

    assert ORDER.index(short.word) <= ORDER.index(long.word)
    assert short.share >= long.share
    assert short.flops_s >= long.flops_s
    assert (short.bound, short.bound_s) == (long.bound, long.bound_s)


@settings(deadline=None)
@given(WORKS, SECONDS, CEILINGS, st.integers(min_value=0, max_value=40))
def test_a_change_of_scale_changes_no_word(amount, seconds, ceiling, doublings):
    """Powers of two, so that nothing is rounded."""
    k = 2.0**doublings
    larger = Work(flops=k * amount.flops, bytes=k * amount.bytes)
    roomy = dataclasses.replace(ceiling, cache_bytes=k * ceiling.cache_bytes)

    one = verdict(amount, seconds, ceiling)
    scaled = verdict(larger, k * seconds, roomy, overhead_s=k * OVERHEAD_S)

    assert (scaled.word, scaled.bound, scaled.share, scaled.flops_s) == (one.word, one.bound, one.share, one.flops_s)


@settings(deadline=None)
@given(WORKS, SECONDS, CEILINGS, st.floats(min_value=1.0, max_value=1e3))
def test_a_higher_ceiling_makes_nothing_impossible(amount, seconds, ceiling, times):
    higher = dataclasses.replace(ceiling, flops_s=times * ceiling.flops_s, bytes_s=times * ceiling.bytes_s)

    low, high = verdict(amount, seconds, ceiling), verdict(amount, seconds, higher)

    assert ORDER.index(high.word) >= ORDER.index(low.word)
    assert high.bound_s <= low.bound_s


@settings(deadline=None)
@given(WORKS, SECONDS, CEILINGS)
def test_share_and_word_agree(amount, seconds, ceiling):
    told = verdict(amount, seconds, ceiling)

    assert told.share * seconds == pytest.approx(told.bound_s)
    if told.word is Word.IMPOSSIBLE:
        assert told.share > 1
    if told.word is Word.FALLBACK:
        assert told.share < 1 / FALLBACK_FACTOR


@pytest.mark.parametrize(
    ("seconds", "word"),
    [(0.9e-3, "impossible"), (0.95e-3, "plausible"), (31e-3, "plausible"), (33e-3, "fallback suspected")],
    ids=["too_fast", "at_the_roof", "slow", "elsewhere"],
)
def test_the_words_of_a_millisecond_of_work(seconds, word):
    assert verdict(Work(flops=1e9, bytes=1e3), seconds, Ceiling(1e12, 1e12, "a device")).word == word


def test_a_tiny_model_is_no_fallback_because_a_call_costs_something():
    """Its bound on a fast device is microseconds."""
    tiny, device = work(SIZES, Tower.IMAGE, Precision.FP16), Ceiling(65e12, 320e9, "T4")

    quick = verdict(tiny, 1e-3, device)

    assert quick.bound_s < 2e-5
    assert quick.word == Word.PLAUSIBLE
    assert verdict(tiny, 0.1, device).word == Word.FALLBACK


def test_weights_that_stay_in_a_cache_are_no_contradiction():
    amount, slow_memory = Work(flops=1e6, bytes=1e8), Ceiling(1e12, 1e10, "a server", cache_bytes=2e8)

    kept = verdict(amount, 5e-3, slow_memory)

    assert (kept.bound, kept.word) == (Bound.BANDWIDTH, Word.PLAUSIBLE)
    assert kept.share == pytest.approx(2)
    assert verdict(amount, 5e-3, dataclasses.replace(slow_memory, cache_bytes=0)).word == Word.IMPOSSIBLE


def test_the_bound_is_the_lower_roof():
    device = Ceiling(1e12, 1e11, "ten FLOPs a byte")

    bounds = [verdict(Work(flops=flops, bytes=1e6), 1.0, device) for flops in (1e6, 1e7 - 1, 1e7 + 1)]

    assert [each.bound for each in bounds] == [Bound.BANDWIDTH, Bound.BANDWIDTH, Bound.COMPUTE]
    assert all(one.bound_s <= other.bound_s for one, other in pairwise(bounds))


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf], ids=["zero", "negative", "nan", "infinite"])
def test_no_time_has_no_verdict(seconds):
    with pytest.raises(UsageError, match="measure the cell again"):
        verdict(Work(flops=1.0, bytes=1.0), seconds, Ceiling(1.0, 1.0, "slow"))


@pytest.mark.parametrize(
    ("flops_s", "bytes_s"),
    [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (math.nan, 1.0), (math.inf, 1.0)],
    ids=["idle", "unconnected", "negative", "nan", "infinite"],
)
def test_a_ceiling_is_a_positive_number(flops_s, bytes_s):
    with pytest.raises(UsageError, match="a ceiling is positive"):
        Ceiling(flops_s, bytes_s, "a device")
