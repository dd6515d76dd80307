"""A prediction is one line, and its line is it; shares of classes are a softmax; what is no such line is told in words."""

import numpy as np
import pytest

from clip_bench.errors import UsageError
from clip_bench.quality import predictions
from clip_bench.quality.predictions import Prediction, Tally

FORM = "a line is FILE, LABEL and up to five NUMBER:SCORE with tabs between, as clip-bench evaluate writes them"


def test_shares_are_the_softmax_of_the_scaled_cosines():
    found = predictions.probabilities(np.array([[0.0, np.log(2.0)], [0.5, 0.5]]), 2.0)

    assert found == pytest.approx(np.array([[0.2, 0.8], [0.5, 0.5]]))


def test_shares_of_far_logits_stay_within_the_floats():
    found = predictions.probabilities(np.array([1.0, -1.0, 1.0], np.float32), 1e4)

    assert found.tolist() == [0.5, 0.0, 0.5]
    assert found.dtype == np.float64


def test_a_cosine_that_is_none_has_no_shares_and_spoils_no_other_row():
    found = predictions.probabilities(np.array([[np.nan, 0.1], [0.1, 0.1]]), 100.0)

    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [0.5, 0.5]


def test_a_line_holds_six_digits_of_each_score():
    told = Prediction(file="a b.png", label=7, best=((7, 1 / 3), (123456789, 1e-9)))

    assert str(told) == "a b.png\t7\t7:0.333333\t123456789:1e-09"
    assert str(Prediction(file="a\tb\u2028.png", label=0, best=())) == "a?b?.png\t0"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["bare", "unix", "windows"])
def test_a_line_is_read_back_whatever_ends_it(end):
    told = Prediction(file=" a.png", label=999999999, best=((5, 0.25), (4, 1e-9), (3, 0.0), (2, 0.0), (1, 0.0)))

    assert predictions.parsed(f"{told}{end}", "here") == told
    assert predictions.parsed("a.png\t3", "here") == Prediction(file="a.png", label=3, best=())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.png", "'a.png'"),
        ("\t3\t3:0.9", "'3\\t3:0.9'"),
        ("a.png\t1234567890", "'a.png\\t1234567890'"),
        ("a.png\t3X\n", "'a.png\\t3X'"),
        ("a.png\t3\t3:x\n", "'a.png\\t3\\t3:x'"),
        ("a.png\t3\tx3:0.1", "'a.png\\t3\\tx3:0.1'"),
        ("a.png\t3" + "\t1:0.1" * 6, "'a.png\\t3\\t1:0.1\\t1:0.1\\t1:0.1\\t1:0.1\\t1:0.1\\t1:0.1'"),
        ("b" * 99, f"'{'b' * 80}'"),
    ],
    ids=["fields", "file", "label", "label_and_more", "score", "number", "six", "long"],
)
def test_a_line_of_another_form_is_told_with_its_place_and_the_form(line, said):
    with pytest.raises(UsageError) as refused:
        predictions.parsed(line, "p.txt, line 4")

    assert str(refused.value) == f"p.txt, line 4: {said}; {FORM}"


@pytest.mark.parametrize(
    ("line", "said"),
    [("a.png\t3\t3:0.9\t3:0.1", "a class twice"), ("a.png\t3\t3:1e", "a score that is no number")],
    ids=["twice", "half_a_number"],
)
def test_a_line_that_contradicts_itself_is_told_with_its_place_and_the_form(line, said):
    with pytest.raises(UsageError) as refused:
        predictions.parsed(line, "p.txt, line 4")

    assert str(refused.value) == f"p.txt, line 4: {said}; {FORM}"


def test_figures_are_told_in_percent_with_what_they_were_counted_over():
    counted = Tally(pictures=2000, first=500, among=1501, silent=7)

    assert list(counted.lines("a", 1000)) == [
        "[a]: top1_rate: 25 top5_rate: 75.05",
        "2,000 pictures, 1,000 classes; 7 without an answer",
    ]


def test_each_prediction_is_counted_by_its_place():
    counted = Tally()
    for label, best in ((4, []), (1, [1, 2]), (2, [1, 2]), (3, [1, 2]), (4, []), (5, [1])):
        counted.add(Prediction(file="x", label=label, best=tuple((number, 0.5) for number in best)))

    assert counted == Tally(pictures=6, first=1, among=2, silent=2)


def test_figures_of_no_picture_are_refused_in_words():
    with pytest.raises(UsageError) as refused:
        list(Tally().lines("a", 10))

    assert str(refused.value) == "a: no prediction, so no figure"
