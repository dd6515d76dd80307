"""What a finding tells follows from what it keeps; a figure of another kind than its raw values is named."""

from dataclasses import replace

import numpy as np
import pytest

from clip_bench.answered import Evaluation, Fit, Labelled, Scoring
from clip_bench.finding import Finding, Indexed, Indexing, Retrieval, Scored, Searched, Share
from clip_bench.quality.predictions import Prediction, Tally, probabilities
from clip_bench.report import refound

COSINES = (0.31, 0.27, 0.11)


def faults(told):
    return list(refound.faults(Finding(name="x", datetime="2026-01-02", machine={}, told=told)))


def scoring():
    shares = probabilities(np.array(COSINES), 100.0).tolist()
    fits = (Fit(label=word, cosine=c, score=s) for word, c, s in zip("abc", COSINES, shares, strict=True))
    pictures = (Labelled(picture="p.png", labels=tuple(fits)),)
    return Scoring(case="x", title="x", random_weights=False, scale=100.0, pictures=pictures)


def evaluation():
    made = [
        Prediction(file="a.png", label=1, best=((1, 0.75), (0, 0.25))),
        Prediction(file="b.png", label=0, best=((1, 0.75), (0, 0.25))),
        Prediction(file="c.png", label=2, best=()),
    ]
    counted = Tally()
    for each in made:
        counted.add(each)
    told = {name: getattr(counted, name) for name in refound.COUNTS}
    words = dict.fromkeys(("case", "title", "target", "data", "prompts"), "x")
    return Evaluation(**words, random_weights=False, classes=7, predictions=tuple(map(str, made)), **told)


def retrieval(**changed):
    share = replace(Share(share=0.75, queries=4, hits="1 1 0 1"), **changed)
    undefined = Share(share=None, queries=0)
    scored = Scored(case="x", title="x", random_weights=False, scores={"i2t_r1": share, "t2i_r1": undefined})
    return Retrieval(data="some", cases=(scored,))


def indexing(**changed):
    searched = replace(Searched(batch=10, recall=0.95, seconds=(0.1, 0.1), recalls=(1.0, 0.9)), **changed)
    return Indexing(
        threads=1, cases=(Indexed(case="x", title="x", random_weights=False, added=(), searched=(searched,)),)
    )


def fits(told, *changed):
    """The same answers with other labels in the places of its own."""
    (picture,) = told.pictures
    return replace(told, pictures=(replace(picture, labels=changed),))


@pytest.mark.parametrize("told", [scoring(), evaluation(), retrieval(), indexing()], ids=list("abcd"))
def test_what_a_command_kept_has_no_fault(told):
    assert not faults(told)


@pytest.mark.parametrize(
    "change",
    [
        lambda first, second, third: (replace(first, score=0.99), second, third),
        lambda first, second, third: (replace(first, cosine=0.32), second, third),
        lambda first, second, third: (second, first, third),
        lambda first, second, _third: (first, second),
        lambda first, second, third: (first, second, third, third),
    ],
    ids=["score", "cosine", "order", "fewer", "more"],
)
def test_a_score_that_its_cosines_do_not_make_names_the_picture(change):
    told = scoring()

    found = faults(fits(told, *change(*told.pictures[0].labels)))

    assert found
    assert all(each.startswith("p.png") for each in found)


def test_another_scale_makes_other_scores():
    assert faults(replace(scoring(), scale=50.0))


@pytest.mark.parametrize("name", refound.COUNTS)
def test_a_count_that_the_predictions_do_not_make_is_named(name):
    told = evaluation()

    (fault,) = faults(replace(told, **{name: 2 + getattr(told, name)}))

    assert fault.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("a.png\t1\t0:0.7", "b.png\t1\t1:0.7"), "pictures: 3, and the predictions make it 2"),
        (("a.png\t9\t0:0.7",), "prediction 1: class 9, of 7"),
        (("a.png\t1\t0:0.7", "no prediction"), "prediction 2: 'no prediction'"),
    ],
    ids=["fewer", "class", "form"],
)
def test_predictions_that_are_others_are_found(lines, said):
    assert any(said in fault for fault in faults(replace(evaluation(), predictions=lines)))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (retrieval(share=1.0), "x: i2t_r1: 1.0 of 4 queries, and the hits make it 0.75 of 4"),
        (retrieval(queries=40), "x: i2t_r1: 0.75 of 40 queries, and the hits make it 0.75 of 4"),
        (retrieval(hits="1 1 1 1"), "and the hits make it 1 of 4"),
        (retrieval(hits=""), "1 figures keep no values per sample"),
        (retrieval(hits="1 x"), "its figures cannot be made again: the values per sample are no numbers"),
        (indexing(recall=1.0), "x, batch 10: recall 1, and its 2 queries make it 0.95"),
        (indexing(seconds=(0.1,)), "x, batch 10: recall 0.95, and its 2 queries"),
        (indexing(recalls=()), "1 figures keep no values per sample"),
    ],
    ids=list("abcdefgh"),
)
def test_shares_that_their_queries_do_not_make_are_found(told, said):
    (fault,) = faults(told)

    assert said in fault
