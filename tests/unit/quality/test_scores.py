"""Accuracies count what they say, over the samples they say, and a broken output scores nought."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.quality import scores
from clip_bench.quality.scores import Embeddings

PICTURES, CLASSES, WIDTH = 40, 8, 64


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def world(seed=1):
    """Pictures near their class's prompt and their two captions, un-normalised; every fifth has no label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, PICTURES)
    prompts = draw(seed + 1, CLASSES, WIDTH)
    images = prompts[labels] + draw(seed + 2, PICTURES, WIDTH)
    owners = np.repeat(np.arange(PICTURES), 2)
    captions = 3 * (images[owners] + np.float32(0.3) * draw(seed + 3, 2 * PICTURES, WIDTH))
    positives = scores.match_captions([f"caption {i}" for i in range(2 * PICTURES)], owners, PICTURES)
    labels[::5] = -1
    return Embeddings(images=images, prompts=prompts, captions=captions), labels, positives


def scored(tested, reference, labels, positives):
    answered = scores.answer_towers(tested, reference, labels=labels, positives=positives)
    return {score.name: score for each in answered for score in scores.summed(each)}


def swapped(embeddings, **parts):
    whole = {"images": embeddings.images, "prompts": embeddings.prompts, "captions": embeddings.captions}
    return Embeddings(**whole | parts)


ALL = ["top1", "top5", "agreement", *(f"{way}_r{k}" for way in ("t2i", "i2t") for k in (1, 5, 10))]


def test_the_reference_scores_as_itself_and_is_right():
    reference, labels, positives = world()

    found = scored(reference, reference, labels, positives)

    assert list(found) == ALL
    assert all(score.value == score.reference for score in found.values())
    assert all(score.value == 1.0 for score in found.values())


def test_each_score_says_how_many_samples_it_is_over():
    reference, labels, positives = world()

    samples = {name: score.samples for name, score in scored(reference, reference, labels, positives).items()}

    assert samples["top1"] == samples["top5"] == 32
    assert samples["agreement"] == 40
    assert samples["i2t_r1"] == 40
    assert samples["t2i_r1"] == 80


def test_scale_changes_no_score():
    reference, labels, positives = world()
    larger = Embeddings(images=reference.images * 7, prompts=reference.prompts * 0.1, captions=reference.captions * 3)

    assert scored(larger, reference, labels, positives) == scored(reference, reference, labels, positives)


parts = pytest.mark.parametrize("part", ["images", "prompts", "captions"], ids=["pictures", "prompts", "captions"])
TOUCHED = {"images": ALL, "prompts": ALL[:3], "captions": ALL[3:]}


def with_all(embeddings, part, value):
    return swapped(embeddings, **{part: np.full_like(getattr(embeddings, part), value)})


@parts
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf], ids=["zero", "nan", "inf"])
def test_rows_without_direction_score_nought_and_the_reference_keeps_its_own(part, value):
    reference, labels, positives = world()

    found = scored(with_all(reference, part, value), reference, labels, positives)

    assert {name: found[name].value for name in ALL} == {name: float(name not in TOUCHED[part]) for name in ALL}
    assert {score.reference for score in found.values()} == {1.0}


@parts
def test_equal_rows_score_nought_as_items_and_by_chance_as_queries(part):
    reference, labels, positives = world()
    as_items = {"images": ["t2i_r1", "t2i_r5", "t2i_r10"], "prompts": ALL[:3], "captions": ["i2t_r1", "i2t_r5"]}[part]

    found = scored(with_all(reference, part, 1.0), reference, labels, positives)

    assert [found[name].value for name in as_items] == [0.0] * len(as_items)
    assert all(found[name].value < 0.3 for name in TOUCHED[part] if name != "top5")


def test_shuffled_pictures_lose_their_scores():
    reference, labels, positives = world()
    order = np.random.default_rng(3).permutation(PICTURES)

    found = scored(swapped(reference, images=reference.images[order]), reference, labels, positives)

    assert all(found[name].value < 0.5 for name in ("top1", "agreement", "t2i_r1", "i2t_r1", "t2i_r5"))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_scores_are_shares_of_their_samples(seed):
    reference, labels, positives = world()
    noisy = swapped(reference, images=reference.images + 3 * draw(seed, PICTURES, WIDTH))

    for score in scored(noisy, reference, labels, positives).values():
        assert 0 <= score.value <= 1
        assert score.value * score.samples == pytest.approx(round(score.value * score.samples))


def test_top_one_counts_the_labelled_pictures_only():
    images, prompts = np.eye(6), np.eye(6)
    labels = np.array([0, 1, 2, 0, -1, -1])
    reference = Embeddings(images=images, prompts=prompts, captions=np.ones((0, 6)))

    found = scored(reference, reference, labels, np.ones((6, 0), dtype=bool))

    assert (found["top1"].value, found["top1"].samples) == (0.75, 4)


def test_empty_parts_give_no_score():
    reference, labels, positives = world()
    bare = swapped(reference, captions=reference.captions[:0])
    unlabelled = np.full(PICTURES, -1)

    assert list(scored(bare, bare, labels, positives[:, :0])) == ALL[:3]
    assert list(scored(bare, bare, unlabelled, positives[:, :0])) == ["agreement"]
    without = swapped(reference, prompts=reference.prompts[:0])
    assert list(scored(without, without, labels, positives)) == ALL[3:]
    nothing = Embeddings(images=draw(1, 0, 4), prompts=draw(1, 0, 4), captions=draw(1, 0, 4))
    assert scored(nothing, nothing, labels[:0], positives[:0, :0]) == {}


def test_a_score_that_could_not_miss_is_not_given():
    reference, labels, positives = world()
    few = Embeddings(images=reference.images[:3], prompts=reference.prompts[:5], captions=reference.captions[:6])

    found = scored(few, few, np.minimum(labels[:3], 4), positives[:3, :6])

    assert list(found) == ["top1", "agreement", "t2i_r1", "i2t_r1"]
    one = swapped(few, prompts=few.prompts[:1])
    assert list(scored(one, one, np.minimum(labels[:3], 0), positives[:3, :6])) == ["t2i_r1", "i2t_r1"]


def test_pictures_without_captions_are_no_distractors():
    reference, labels, positives = world()
    positives[20:] = False

    found = scored(swapped(reference, captions=reference.captions), reference, labels, positives)

    assert (found["i2t_r1"].samples, found["t2i_r1"].samples) == (20, 40)


@pytest.mark.parametrize(
    "wrong",
    [np.ones((PICTURES, 3)), np.ones((3, WIDTH)), np.ones((PICTURES, WIDTH), dtype=int)],
    ids=["narrower", "fewer", "integers"],
)
def test_outputs_that_cannot_be_compared_give_no_score(wrong):
    reference, labels, positives = world()

    assert scored(swapped(reference, images=wrong), reference, labels, positives) == {}


@pytest.mark.parametrize("slip", ["labels", "positives"])
def test_labels_and_positives_that_do_not_fit_are_an_error(slip):
    reference, labels, positives = world()
    given_ = {"labels": labels, "positives": positives}

    with pytest.raises(ValueError, match="must be"):
        scores.answer_towers(reference, reference, **given_ | {slip: given_[slip][1:]})


def test_captions_of_equal_words_are_right_for_each_others_pictures():
    owners = np.array([0, 0, 1, 2])

    positives = scores.match_captions(["a dog", "a cat", "a dog", "a bird"], owners, 3)

    assert positives.tolist() == [[True, True, True, False], [True, False, True, False], [False, False, False, True]]


def test_no_captions_match_nothing():
    assert scores.match_captions([], np.array([], dtype=int), 3).shape == (3, 0)


def fused(seed=5):
    answers = np.random.default_rng(seed).integers(0, 10, 50)
    logits = draw(seed, 50, 10)
    logits[np.arange(50), answers] += 10
    return logits, answers


def paired(tested, logits, answers):
    return [score for each in scores.answer_pair(tested, logits, answers) for score in scores.summed(each)]


def test_fused_logits_score_by_their_answers():
    logits, answers = fused()
    tested = logits.copy()
    tested[:5] = -tested[:5]

    top, agreement = paired(tested, logits, answers)

    assert (top.name, top.value, top.reference, top.samples) == ("top1", 0.9, 1.0, 50)
    assert (agreement.name, agreement.value, agreement.reference) == ("agreement", 0.9, 1.0)


@pytest.mark.parametrize("value", [0.0, 24.3, np.nan, np.inf], ids=["zero", "level", "nan", "inf"])
def test_constant_logits_score_nought_though_an_answer_stands_first(value):
    logits, answers = fused()

    found = paired(np.full_like(logits, value), logits, answers * 0)

    assert [score.value for score in found] == [0.0, 0.0]


def test_logits_that_cannot_be_compared_give_no_score():
    logits, answers = fused()

    assert scores.answer_pair(logits[:, :9], logits, answers) == ()
    assert scores.answer_pair(logits[:0], logits[:0], answers[:0]) == ()
