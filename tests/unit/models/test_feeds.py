"""A model is fed open_clip's own transform and tokens, with one right answer in a place drawn at random."""

from collections import Counter
from functools import partial

import numpy as np
import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import image_transform
from PIL import Image

from clip_bench.data import NO_LABEL, Picture, assemble, generated
from clip_bench.errors import UnavailableError, UsageError
from clip_bench.models import catalog, feeds
from clip_bench.specs import Tower
from clip_bench.store import Store

SPEC = catalog.MODELS["shapes_tiny"]
CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
CLASSES = ("red ring", "blue star")
PROMPTS = ("a red ring", "a blue star")


def picture(seed, mode="RGB", size=(90, 70)):
    """Noise of an odd shape, opened when asked for."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*reversed(size), 4), np.uint8)
    return Picture(
        name=f"{seed}.png", sha256=str(seed), open=partial(Image.Image.convert, Image.fromarray(pixels), mode)
    )


def made(*facts, classes=CLASSES, prompts=PROMPTS):
    """Feeds of a picture for each (label, captions) of *facts*."""
    rows = [(picture(i), label, captions) for i, (label, captions) in enumerate(facts)]
    return feeds.make(SPEC, assemble("made_up", rows, classes=classes, prompts=prompts))


def test_prompts_come_first_and_then_every_caption_once():
    fed = made((0, ()), (1, ("a b", "c d")), (NO_LABEL, ("c d", "e f")))

    assert fed.prompts == 2
    assert np.array_equal(fed.tokens, feeds.tokens(SPEC, [*PROMPTS, "a b", "c d", "e f"]))
    assert fed.labels.tolist() == [0, 1, NO_LABEL]
    assert fed.positives.tolist() == [[False] * 3, [True, True, False], [False, True, True]]


def test_without_labels_there_are_no_prompts():
    fed = made((NO_LABEL, ("a b",)), (NO_LABEL, ("c d",)))

    assert fed.prompts == 0
    assert np.array_equal(fed.tokens, feeds.tokens(SPEC, ["a b", "c d"]))


def test_without_captions_there_are_only_prompts():
    fed = made((0, ()), (1, ()))

    assert fed.prompts == len(fed.tokens) == 2
    assert fed.positives.shape == (2, 0)


def test_a_label_is_the_right_answer_before_a_caption():
    fed = made((1, ("a b",)), (NO_LABEL, ("c d", "e f")), (0, ()))

    right = fed.choices[np.arange(3), fed.answers]

    assert right.tolist() == [1, 3, 0]


def test_no_wrong_answer_is_right_for_the_same_picture():
    fed = made((0, ("a red ring", "A  RED  ring")), (NO_LABEL, ("a b", "c d")), (NO_LABEL, ("e f",)))

    wrong = [set(np.delete(row, place)) for row, place in zip(fed.choices.tolist(), fed.answers, strict=True)]

    words = [*PROMPTS, "a red ring", "A  RED  ring", "a b", "c d", "e f"]
    assert [sorted(words[row] for row in rows) for rows in wrong] == [
        ["a b", "a blue star", "c d", "e f"],
        ["A  RED  ring", "a blue star", "a red ring", "a red ring", "e f"],
        ["A  RED  ring", "a b", "a blue star", "a red ring", "a red ring", "c d"],
    ]


@given(
    texts=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    owned=st.lists(st.lists(st.integers(0, 39), min_size=1, max_size=4), min_size=1, max_size=6),
)
def test_one_of_ten_is_right_or_there_is_nothing_to_choose(texts, owned):
    ids = np.array(texts)[:, np.newaxis]
    right = [[row % len(texts) for row in rows] for rows in owned]
    known = [{texts[row] for row in rows} for rows in right]

    if any(set(texts) <= own for own in known):
        with pytest.raises(UsageError, match="nothing to choose from"):
            feeds._choices(ids, right)
        return
    choices, answers = feeds._choices(ids, right)

    assert choices.shape == (len(right), 10)
    for row, place, rows, own in zip(choices, answers, right, known, strict=True):
        others = [texts[other] for other in np.delete(row, place)]
        assert row[place] == rows[0]
        assert not own & set(others)
        assert len(set(np.delete(row, place).tolist())) == min(9, sum(text not in own for text in texts))


def test_right_answers_stand_at_all_ten_places_about_equally_often():
    _, answers = feeds._choices(np.arange(1000)[:, np.newaxis], [[row] for row in range(1000)])

    counts = Counter(answers.tolist())
    assert set(counts) == set(range(10))
    assert max(counts.values()) < 2 * min(counts.values())


def test_the_choice_is_the_same_every_time():
    facts = [(0, ()), (1, ("a b", "c d")), (NO_LABEL, ("e f",))]

    one, other = made(*facts), made(*facts)

    assert one.sha256 == other.sha256
    assert np.array_equal(one.choices, other.choices)


def test_the_hash_tells_other_facts_apart():
    found = {
        made((0, ()), (1, ("a b",))).sha256,
        made((1, ()), (1, ("a b",))).sha256,
        made((0, ()), (1, ("a c",))).sha256,
        made((0, ("a b",)), (1, ())).sha256,
    }

    assert len(found) == 4


def test_calls_are_one_sample_each_in_order():
    fed = made((0, ()), (1, ("a b",)), (NO_LABEL, ("c d",)))

    pictures, texts, fused = (fed.calls(tower) for tower in Tower)

    assert np.array_equal(np.concatenate([call["image"] for call in pictures]), fed.image)
    assert np.array_equal(np.concatenate([call["tokens"] for call in texts]), fed.tokens)
    assert {call["image"].shape for call in [*pictures, *fused]} == {(1, 3, 64, 64)}
    assert all(np.array_equal(call["tokens"], fed.tokens[rows]) for call, rows in zip(fused, fed.choices, strict=True))
    assert [set(call) for call in (pictures[0], texts[0], fused[0])] == [{"image"}, {"tokens"}, {"image", "tokens"}]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize(
    ("name", "size", "settings"),
    [
        pytest.param("shapes_tiny", 64, CLIP, id="shapes_tiny"),
        pytest.param("vit_b_32_openai", 224, CLIP, id="vit_b_32"),
        pytest.param("vit_b_32_random", 224, CLIP, id="vit_b_32_random"),
        pytest.param(
            "siglip_b_16",
            224,
            {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "resize_mode": "squash"},
            id="siglip",
        ),
        pytest.param(
            "mobileclip_s1",
            256,
            {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "interpolation": "bilinear"},
            id="mobileclip",
        ),
    ],
)
def test_a_picture_is_transformed_as_open_clip_does(name, size, settings, mode):
    shown = picture(7, mode, (301, 211)).open()

    found = feeds.transform(catalog.MODELS[name])(shown)

    expected = image_transform(size, is_train=False, **settings)(shown).numpy()
    assert found.shape == (3, size, size)
    assert np.array_equal(found, expected)


def test_words_become_the_tokens_of_open_clip_cut_to_the_length():
    texts = ["a red ring", "a blue star and " * 40]

    ids = feeds.tokens(catalog.MODELS["vit_b_32_openai"], texts)

    assert ids.dtype == np.int64
    assert ids.shape == (2, 77)
    assert np.array_equal(ids, open_clip.tokenize(texts).numpy())
    assert feeds.tokens(SPEC, texts).shape == (2, 24)


def test_a_tokenizer_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setattr(feeds, "find_spec", lambda _: None)

    with pytest.raises(UnavailableError, match=r"siglip_b_16 needs more packages: pip install 'clip-bench\[siglip\]'"):
        feeds.tokens(catalog.MODELS["siglip_b_16"], ["a red ring"])


def test_a_tokenizer_that_cannot_be_fetched_is_one_line(monkeypatch):
    def offline(*_, **__):
        raise OSError

    monkeypatch.setattr(open_clip, "get_tokenizer", offline)

    with pytest.raises(UnavailableError, match="its hub cannot be reached"):
        feeds.tokens(catalog.MODELS["vit_b_32_openai"], ["a red ring"])


@given(st.lists(st.integers(0, 9), min_size=2, max_size=12))
def test_a_digest_knows_types_shapes_and_values_but_no_memory_layout(values):
    array = np.array(values, np.int64)
    strided = np.repeat(array, 2)[::2]

    assert feeds.digest([array]) == feeds.digest([strided])
    others = [[array.astype(np.int32)], [array[np.newaxis]], [array + 1], [array[:1], array[1:]]]
    assert feeds.digest([array]) not in {feeds.digest(other) for other in others}


def test_kept_feeds_are_those_that_were_made(tmp_path, monkeypatch):
    samples = generated.evaluation(4, 4, SPEC.image_size)
    fresh = feeds.make(SPEC, samples)

    assert feeds.make(SPEC, samples, Store(tmp_path)).sha256 == fresh.sha256
    monkeypatch.setattr(feeds, "images", lambda *_: pytest.fail("transformed again"))
    assert feeds.make(SPEC, samples, Store(tmp_path)).sha256 == fresh.sha256
    with pytest.raises(pytest.fail.Exception):
        feeds.make(SPEC, generated.evaluation(4, 5, SPEC.image_size), Store(tmp_path))
