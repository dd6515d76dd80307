"""The best five, or no answer where argmax would be none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clip_bench.answers import classify
from clip_bench.data.listing import Entry, Listing
from clip_bench.errors import UsageError
from clip_bench.quality import metrics
from clip_bench.quality.predictions import Prediction, Tally


def alone(n):
    return np.arange(n)


def numbers(best):
    return [number for number, _ in best]


def test_the_best_five_come_with_their_shares_of_all():
    cosines = np.array([0.1, 0.3, 0.2, 0.0, 0.25, 0.15, -0.1])

    best = classify.best(cosines, alone(7), 10.0)

    assert numbers(best) == [1, 4, 2, 5, 0]
    assert best[0][1] == pytest.approx(np.exp(3) / np.exp(10 * cosines).sum())


@pytest.mark.parametrize(
    "cosines", [[0.2] * 6, [0.1, 0.2, 0.2], [0.1, np.nan, 0.2], [np.nan] * 3], ids=["flat", "tied", "one", "all"]
)
def test_a_tie_or_no_number_is_no_answer(cosines):
    assert classify.best(np.array(cosines), alone(len(cosines)), 100.0) == ()


def test_classes_of_one_name_may_tie():
    twins = classify.twins_of([["missile"], ["sunglasses"], ["sunglasses"]])

    assert twins.tolist() == [0, 1, 1]
    assert numbers(classify.best(np.array([0.1, 0.3, 0.3]), twins, 100.0)) == [1, 2, 0]


@given(
    arrays(np.float64, (12, 9), elements=st.floats(-1, 1, width=16)),
    st.lists(st.integers(0, 8), min_size=12, max_size=12),
)
def test_without_ties_the_figures_are_those_of_the_metrics(cosines, labels):
    distinct = cosines + 4 * np.arange(9)  # no two of a row within rounding of each other
    order = np.random.default_rng(0).permuted(distinct, axis=1)
    counted = Tally()

    for row, label in zip(order, labels, strict=True):
        counted.add(Prediction(file="x", label=label, best=classify.best(row, alone(9), 1.0)))

    assert counted.first / 12 == pytest.approx(metrics.topk(order, np.array(labels), 1))
    assert counted.among / 12 == pytest.approx(metrics.topk(order, np.array(labels), 5))


def listing(labels, classes=("cat", "dog")):
    entries = tuple(Entry(name=f"{i}.png", stored=bytes, label=label) for i, label in enumerate(labels))
    return Listing(name="few", entries=entries, expected=len(entries), classes=classes)


def test_what_has_no_class_is_not_classified():
    assert [entry.name for entry in classify.labelled(listing([0, -1, 1]), None)] == ["0.png", "2.png"]


def test_a_draw_depends_on_names_alone():
    drawn, turned = (classify.labelled(listing(labels), 4) for labels in ([0, 1] * 20, [1, 0] * 20))

    names = [entry.name for entry in drawn]
    assert names == [entry.name for entry in turned]
    assert names != sorted(names)
    assert len(names) == 40


@pytest.mark.parametrize(("labels", "classes"), [([-1, -1], ()), ([0, 0], ("cat",))], ids=["captions", "one"])
def test_without_two_classes_there_is_nothing_to_tell(labels, classes):
    with pytest.raises(UsageError, match="evaluate takes"):
        classify.labelled(listing(labels, classes), None)
