"""Recall is CLIP_benchmark's, whatever the block; label queries are right where every label is shown."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.quality import retrieval

KS = (1, 5, 10)


def published(scores, positive_pairs, k):
    """LAION's CLIP_benchmark, zeroshot_retrieval.recall_at_k and its use, in numpy: the share with a recall above 0."""
    nb_texts, nb_pictures = scores.shape
    topk_indices = np.argsort(-scores, axis=1)[:, :k]
    nb_positive = positive_pairs.sum(axis=1)
    onehot = np.zeros((nb_texts, k, nb_pictures), bool)
    onehot[np.arange(nb_texts)[:, None], np.arange(k)[None], topk_indices] = True
    true_positive = (onehot & positive_pairs[:, None]).sum(axis=(1, 2))
    return float(((true_positive / nb_positive) > 0).mean())


def drawn(seed, pictures, each, width=16, noise=1.0):
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(pictures, width)).astype(np.float32)
    owners = draw.permutation(np.repeat(np.arange(pictures), each))
    return rows, (rows[owners] + noise * draw.normal(size=(len(owners), width))).astype(np.float32), owners


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    pictures=st.integers(11, 40),
    each=st.integers(1, 5),
    block=st.sampled_from([1, 7, 1024]),
)
def test_recalls_are_those_of_clip_benchmark(seed, pictures, each, block):
    rows, words, owners = drawn(seed, pictures, each)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows.astype(float), words.astype(float))]
    scores, pairs = unit[1] @ unit[0].T, owners[:, None] == np.arange(pictures)

    before, retrieval.BLOCK = retrieval.BLOCK, block
    try:
        found = retrieval.recalls(3 * rows, words / 7, owners)
    finally:
        retrieval.BLOCK = before

    for k in KS:
        assert found[f"t2i_r{k}"] == pytest.approx(published(scores, pairs, k))
        assert found[f"i2t_r{k}"] == pytest.approx(published(scores.T, pairs.T, k)) or k >= len(words)


def test_equal_rows_and_rows_without_direction_score_nothing():
    rows, words, owners = drawn(1, 30, 5)

    equal = retrieval.recalls(np.ones_like(rows), words, owners)
    assert {equal[f"t2i_r{k}"] for k in KS} == {0.0}
    assert equal["i2t_r1"] <= 1 / 30  # all of them take the same words, which are right for one
    assert set(retrieval.recalls(np.full_like(rows, np.nan), words, owners).values()) == {0.0}
    assert retrieval.recalls(rows, words, owners)["i2t_r1"] > 0.2


def test_an_owner_that_is_told_in_another_order_changes_the_answer():
    rows, words, owners = drawn(2, 50, 5, noise=0.1)

    assert retrieval.recalls(rows, words, owners)["t2i_r1"] > 0.95
    assert retrieval.recalls(rows, words, np.roll(owners, 1))["t2i_r1"] < 0.2


def test_what_could_not_miss_is_no_figure():
    rows, words, owners = drawn(3, 5, 1)

    found = retrieval.recalls(rows, words, owners)

    assert math.isnan(found["t2i_r5"])
    assert not math.isnan(found["t2i_r1"])


@pytest.mark.parametrize(
    ("rows", "words", "owners"),
    [((5, 4), (6, 3), (6,)), ((5, 4), (6, 4), (5,)), ((5,), (6, 4), (6,))],
    ids=["widths", "owners", "one_row"],
)
def test_shapes_that_do_not_fit_are_refused(rows, words, owners):
    with pytest.raises(ValueError, match=r"give \(n, width\)"):
        retrieval.recalls(np.ones(rows), np.ones(words), np.zeros(owners, int))
    with pytest.raises(ValueError, match="must be rows of the 5"):
        retrieval.recalls(np.ones((5, 4)), np.ones((6, 4)), np.arange(6))


SHOWS = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], bool)


def test_queries_name_what_some_picture_shows_together():
    assert retrieval.naming(SHOWS, 1, 99).sum(axis=0).tolist() == [1, 1, 1, 1]
    assert [np.flatnonzero(row).tolist() for row in retrieval.naming(SHOWS, 2, 99)] == [[0, 1], [0, 2], [1, 2]]
    assert [np.flatnonzero(row).tolist() for row in retrieval.naming(SHOWS, 3, 99)] == [[0, 1, 2]]
    assert [np.flatnonzero(row).tolist() for row in retrieval.naming(SHOWS, 2, 2)] == [[0, 1], [1, 2]]
    assert retrieval.naming(SHOWS[3:], 2, 9).shape == (0, 4)
    assert retrieval.naming(SHOWS, 2, 9).dtype == np.bool_


def test_a_query_is_answered_by_what_shows_every_label_named():
    rows = np.eye(4) + 0.01 * np.arange(16).reshape(4, 4)
    queries = retrieval.naming(SHOWS, 2, 99)

    right = retrieval.by_labels(rows, rows[[0, 1, 2]], queries, SHOWS, (1,))
    wrong = retrieval.by_labels(rows, rows[[1, 0, 0]], queries, SHOWS, (1,))

    assert (right[1].tolist(), wrong[1].tolist()) == ([True] * 3, [False] * 3)


def test_pictures_find_their_labels_and_their_like_but_not_themselves():
    labels = np.eye(4)
    rows = SHOWS @ labels

    assert retrieval.to_labels(rows, labels + 1e-3 * np.arange(4), SHOWS, (1,))[1].all()
    assert retrieval.to_labels(rows, labels[::-1], SHOWS, (1,))[1].mean() < 1
    assert retrieval.to_images(rows + 1e-3 * np.arange(16).reshape(4, 4), SHOWS, (1,))[1].all()
    alone = np.array([[1, 0], [0, 1]], bool)
    assert not retrieval.to_images(np.eye(2), alone, (1,))[1].size


def test_one_label_in_common_is_enough_and_none_is_not():
    """The first shares one with the second, which is near, and the third with the fourth, to which it is the nearest."""
    shows = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]], bool)
    rows = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.5], [-1.0, 0.0], [1.0, 0.3]])

    assert retrieval.to_images(rows, shows, (1,))[1].tolist() == [True, True, False, True]


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_pictures_find_their_like_whatever_the_block(monkeypatch, block):
    draw = np.random.default_rng(5)
    rows, shows = draw.standard_normal((20, 8)), draw.random((20, 6)) < 0.2
    expected = retrieval.to_images(rows, shows, (1, 5))
    monkeypatch.setattr(retrieval, "BLOCK", block)

    found = retrieval.to_images(rows, shows, (1, 5))

    assert {k: hits.tolist() for k, hits in found.items()} == {k: hits.tolist() for k, hits in expected.items()}
    assert 0 < found[5].mean() < 1


def test_a_picture_is_behind_every_other_in_its_own_search():
    """The two that share its label are as far as can be; one alone that does not is before them."""
    rows = np.array([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    shows = np.array([[1], [1], [1], [0]], bool)

    assert retrieval.to_images(rows, shows, (2,))[2].tolist() == [True, True, True]


def test_of_two_pictures_one_is_all_that_the_other_can_find():
    found = retrieval.to_images(np.eye(2), np.ones((2, 1), bool), (1,))[1]

    assert (found.size, found.dtype) == (0, np.bool_)
