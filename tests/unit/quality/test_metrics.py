"""Every figure is finite, a tie counts against the cell, and what has no direction is like nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clip_bench.quality import metrics

few = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)
ordinary = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.floats(-100, 100, width=32)
)
anything = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.floats())
grades = hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(2, 6)), elements=st.integers(-3, 3).map(float))
BROKEN = {"nan": np.nan, "inf": np.inf, "minus_inf": -np.inf}
broken = pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)


def draw(seed, rows=20, width=16):
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


def crowded(seed, rows=20, width=64):
    """Like the embeddings of random weights: one large common part, small differences."""
    return (10 + 0.3 * draw(seed, rows, width)).astype(np.float32)


@few
@given(ordinary, st.floats(0.01, 1000))
def test_cosine_does_not_know_scale(rows, factor):
    doubled = rows.astype(np.float64) * factor

    figure = metrics.cosine(rows, doubled)

    assert figure.dtype == np.float64
    assert figure == pytest.approx(rows.any(axis=1).astype(float), abs=1e-12)


@few
@given(anything, seeds)
def test_cosine_is_finite_and_within_one_whatever_the_rows_hold(rows, seed):
    other = draw(seed, *rows.shape)

    figure = metrics.cosine(rows, other)

    assert np.isfinite(figure).all()
    assert (np.abs(figure) <= 1).all()


@few
@given(seeds)
def test_cosine_is_the_dot_product_over_the_norms(seed):
    a, b = draw(seed), draw(seed + 1)

    expected = [x @ y / np.sqrt((x @ x) * (y @ y)) for x, y in zip(a.astype(float), b.astype(float), strict=True)]

    assert metrics.cosine(a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 0], [2, 0], 1.0),
        ([1, 0], [-3, 0], -1.0),
        ([1, 0], [0, 5], 0.0),
        ([3, 4], [4, 3], 0.96),
        ([0, 0], [4, 3], 0.0),
        ([0, 0], [0, 0], 0.0),
        ([np.nan, 1], [1, 1], 0.0),
        ([np.inf, 1], [1, 0], 0.0),
        ([1e300, 0], [1e-300, 0], 1.0),
    ],
    ids=["same", "opposite", "square", "known", "zero", "zeros", "nan", "inf", "extremes"],
)
def test_cosine_of_known_rows(a, b, expected):
    figure = metrics.cosine(np.array([a], dtype=float), np.array([b], dtype=float))

    assert figure == pytest.approx([expected], abs=1e-15)


@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (4,)], ids=["fewer", "narrower", "flat"])
def test_rows_of_another_shape_are_an_error(shape):
    with pytest.raises(ValueError, match="cannot be compared"):
        metrics.cosine(np.ones(shape), np.ones((4, 5)))


@few
@given(st.integers(-14, -5))
def test_drift_keeps_its_digits_where_one_minus_cosine_cancels(power):
    angle = 10.0**power
    a, b = np.array([[1.0, 0.0]]), np.array([[1.0, angle]])

    assert metrics.drift(a, b) == pytest.approx([angle**2 / 2], rel=1e-3)


@few
@given(anything)
def test_normalised_rows_have_length_one_or_none(rows):
    lengths = np.linalg.norm(metrics.normalised(rows), axis=1)

    directed = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
    assert lengths == pytest.approx(directed.astype(float), abs=1e-12)


@few
@given(grades)
def test_between_is_the_mean_over_couples_of_different_rows(rows):
    units = metrics.normalised(rows)
    couples = [
        u @ v for a, u in zip(rows, units, strict=True) for b, v in zip(rows, units, strict=True) if (a != b).any()
    ]

    assert metrics.between(rows) == pytest.approx(np.mean(couples) if couples else 1.0, abs=1e-12)


def similarity(test, reference, floor):
    compared = metrics.compare("rows", test, reference, {"again": np.full(3, floor), "batch": np.zeros(3)})
    return metrics.similarity(compared, metrics.between(reference))


def test_between_leaves_equal_rows_out():
    rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])

    assert metrics.between(rows) == 0.0


@pytest.mark.parametrize("make", [draw, crowded], ids=["spread", "crowded"])
def test_every_row_is_identified_in_spite_of_small_noise(make):
    rows = make(1)

    assert metrics.identified(rows + 1e-3 * draw(2, *rows.shape), rows).mean() == 1.0


@pytest.mark.parametrize("make", [draw, crowded], ids=["spread", "crowded"])
def test_no_rolled_row_is_identified(make):
    rows = make(3)

    assert metrics.identified(np.roll(rows, 1, axis=0), rows).mean() == 0.0


def test_a_mean_cosine_cannot_see_rolled_rows_of_random_weights():
    rows = crowded(4)

    figure = similarity(np.roll(rows, 1, axis=0), rows, 0.0)

    assert figure.mean > 0.99
    assert figure.identified == 0.0


def test_equal_reference_rows_identify_each_other():
    rows = np.concatenate([draw(5), draw(5)])

    assert metrics.identified(np.roll(rows, 20, axis=0), rows).mean() == 1.0


@pytest.mark.parametrize("value", [0.0, *BROKEN.values()], ids=["zero", *BROKEN])
def test_rows_without_direction_are_not_identified(value):
    rows = draw(6)
    test = rows.copy()
    test[:5] = value

    assert metrics.identified(test, rows).mean() == 0.75


def test_a_constant_identifies_one_row_at_most():
    rows = draw(7)

    assert metrics.identified(np.repeat(rows[:1], 20, axis=0), rows).mean() == 0.05


def test_nearest_is_the_same_across_blocks(monkeypatch):
    rows, order = draw(8), np.random.default_rng(8).permutation(20)
    monkeypatch.setattr(metrics, "_BLOCK", 7)

    assert (metrics.nearest(rows[order], rows) == order).all()


def test_spread_is_nought_only_where_rows_point_the_same_way():
    rows = draw(9)

    assert metrics.spread(np.outer(np.arange(1, 6), rows[0])) == pytest.approx(0, abs=1e-15)
    assert metrics.spread(rows) == pytest.approx(1, abs=0.2)


def test_similarity_of_known_rows():
    reference = np.array([[1.0, 0.0], [0.0, 1.0]])
    test = np.array([[2.0, 0.0], [4.0, 3.0]])

    figure = similarity(test, reference, 0.1)

    assert (figure.output, figure.rows, figure.between, figure.identified) == ("rows", 2, 0.0, 0.5)
    assert (figure.mean, figure.minimum, figure.p1) == pytest.approx((0.8, 0.6, 0.604))
    assert (figure.floor_drift, figure.drift_ratio) == pytest.approx((0.1, 2.0))


def test_drift_is_told_in_the_floor_even_where_the_mean_cosine_rounds_to_one():
    reference = np.array([[1.0, 0.0], [0.0, 1.0]])
    test = reference + np.array([[0.0, 1e-9], [0.0, 0.0]])

    figure = similarity(test, reference, 0.0)

    assert figure.mean == 1.0
    assert figure.floor_drift == metrics.LEAST_FLOOR
    assert figure.drift_ratio == pytest.approx(2.5e-19 / metrics.LEAST_FLOOR)


def test_the_least_floor_is_the_drift_of_one_epsilon():
    epsilon = float(np.finfo(np.float32).eps)

    drift = metrics.drift(np.array([[1.0, 0.0]]), np.array([[1.0, epsilon]]))

    assert drift == pytest.approx([metrics.LEAST_FLOOR])


@few
@given(anything)
def test_similarity_is_finite_whatever_the_rows_hold(rows):
    reference = draw(10, *rows.shape)

    figure = similarity(rows, reference, 0.0)

    figures = (figure.mean, figure.minimum, figure.p1, figure.between, figure.identified, figure.drift_ratio)
    assert np.isfinite(figures).all()


def test_similarity_of_no_rows_is_an_error():
    with pytest.raises(ValueError, match="no rows"):
        similarity(np.ones((0, 4)), np.ones((0, 4)), 0.0)


@few
@given(grades, st.integers(1, 5), st.data())
def test_topk_counts_the_classes_that_score_as_high(scores, k, data):
    samples, classes = scores.shape
    labels = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=samples, max_size=samples)))

    hits = [
        sum(other >= row[label] for place, other in enumerate(row) if place != label) < k
        for row, label in zip(scores, labels, strict=True)
    ]

    assert metrics.topk(scores, labels, k) == np.mean(hits)


@few
@given(grades, st.randoms(use_true_random=False))
def test_topk_does_not_know_the_order_of_classes(scores, random):
    order = list(range(scores.shape[1]))
    random.shuffle(order)
    labels = np.zeros(len(scores), dtype=int)

    assert metrics.topk(scores[:, order], labels + order.index(0), 1) == metrics.topk(scores, labels, 1)


@few
@given(st.integers(2, 12), st.data(), st.floats(-1e4, 1e4))
def test_constant_logits_score_nought_in_every_top(classes, data, level):
    k = data.draw(st.integers(1, classes - 1))

    assert metrics.topk(np.full((3, classes), level), np.zeros(3, dtype=int), k) == 0.0


def test_logits_a_few_units_in_the_last_place_apart_are_tied():
    level = np.float32(23.7)
    scores = np.array([[np.nextafter(level, np.float32(99)), level, level]])

    assert metrics.topk(scores, np.array([0]), 1) == 0.0


@broken
def test_a_row_that_is_not_finite_is_a_miss(value):
    scores = np.eye(4)
    scores[0] = value

    assert metrics.topk(scores, np.arange(4), 4) == 0.75


def test_an_unknown_score_elsewhere_counts_as_higher():
    scores = np.array([[3.0, np.nan, 1.0]])

    assert metrics.topk(scores, np.array([0]), 1) == 0.0
    assert metrics.topk(scores, np.array([0]), 2) == 1.0


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0]], ids=["beyond", "unlabelled", "fewer"])
def test_labels_that_do_not_fit_are_an_error(labels):
    with pytest.raises(ValueError, match="from 0 to 2"):
        metrics.topk(np.ones((2, 3)), np.array(labels), 1)


@few
@given(grades)
def test_scores_agree_with_themselves_except_where_tied(scores):
    ordered = np.sort(scores, axis=1)

    assert metrics.agreement(scores, scores * 2) == np.mean(ordered[:, -1] > ordered[:, -2])


@few
@given(grades, st.data())
def test_agreement_is_the_same_both_ways(a, data):
    b = a[:, data.draw(st.permutations(range(a.shape[1])))]

    assert metrics.agreement(a, b) == metrics.agreement(b, a)


def test_agreement_counts_the_same_best_class():
    ours = np.array([[3.0, 1, 2], [1, 3, 2], [1, 2, 3], [2, 3, 1]])
    theirs = np.array([[9.0, 0, 1], [9, 0, 1], [0, 1, 9], [0, 9, 1]])

    assert metrics.agreement(ours, theirs) == 0.75


@broken
def test_what_is_not_finite_never_agrees(value):
    scores = np.full((3, 4), value)
    clear = np.eye(3, 4)

    assert metrics.agreement(scores, clear) == 0.0
    assert metrics.agreement(scores, scores) == 0.0


def test_agreement_of_other_shapes_is_an_error():
    with pytest.raises(ValueError, match="must both be"):
        metrics.agreement(np.ones((2, 3)), np.ones((2, 4)))


@few
@given(grades, st.integers(1, 4))
def test_recall_with_one_positive_each_is_topk(scores, k):
    positives = np.zeros(scores.shape, dtype=bool)
    positives[:, 1] = True

    assert metrics.recall(scores, positives, k) == metrics.topk(scores, np.ones(len(scores), dtype=int), k)


@few
@given(grades, st.data())
def test_recall_grows_with_k(scores, data):
    positives = data.draw(hnp.arrays(np.bool_, scores.shape))

    shares = [metrics.recall(scores, positives, k) for k in range(1, scores.shape[1] + 1)]

    assert shares == [*np.maximum.accumulate(shares)]
    assert shares[-1] == positives.any(axis=1).mean()


def test_any_positive_in_the_top_counts():
    scores = np.array([[5.0, 4, 3, 2], [5, 4, 3, 2], [5, 4, 3, 2]])
    positives = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=bool)

    assert [metrics.recall(scores, positives, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def test_a_tie_with_a_wrong_item_is_a_miss_and_with_a_right_one_is_not():
    scores = np.array([[1.0, 1, 0], [1, 1, 0]])
    positives = np.array([[1, 0, 0], [1, 1, 0]], dtype=bool)

    assert metrics.recall(scores, positives, 1) == 0.5


def test_unknown_scores_are_no_recall():
    scores = np.array([[np.nan, 1.0, 0.0], [np.nan, 3.0, 0.0], [np.nan, np.nan, np.nan]])
    positives = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1]], dtype=bool)

    assert metrics.recall(scores, positives, 1) == 0.0
    assert metrics.recall(scores, positives, 2) == pytest.approx(1 / 3)


def test_a_positive_of_unknown_score_does_not_hide_another():
    scores = np.array([[np.nan, 2.0, 1.0]])

    assert metrics.recall(scores, np.array([[True, True, False]]), 1) == 1.0


def test_positives_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match="must both be"):
        metrics.recall(np.ones((2, 3)), np.ones((3, 2), dtype=bool), 1)


def test_what_has_no_direction_ranks_nowhere():
    items = np.array([[0.0, 0.0], [-1.0, 0.0], [np.nan, 1.0]])

    ranking = metrics.rank(np.array([[1.0, 0.0], [0.0, 0.0]]), items)

    assert ranking[0, 1] == -1.0
    assert np.isnan(ranking).sum() == 5


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (np.ones((3, 4), dtype=np.float16), True),
        (np.ones((3, 5)), False),
        (np.ones(12), False),
        (np.ones((3, 4), dtype=np.int64), False),
        (np.ones((3, 4), dtype=complex), False),
        (np.full((3, 4), None), False),
    ],
    ids=["half", "wider", "flat", "integers", "complex", "objects"],
)
def test_only_floats_of_the_same_shape_are_comparable(test, expected):
    assert metrics.comparable(test, np.ones((3, 4), dtype=np.float32)) == expected
