"""What each refusal says: the user reads it, so it is held to the letter."""

import numpy as np
import pytest

from clip_bench.quality import fed, gates, metrics, retrieval, scores
from clip_bench.quality.gates import Gate
from clip_bench.quality.noise import Noise
from clip_bench.specs import Precision

QUIET = Noise(again=np.zeros(9), batch=np.zeros(9), threads=np.zeros(9))


def rows(seed=1, count=40):
    return np.random.default_rng(seed).standard_normal((count, 16))


def refused(test, reference):
    (failure,) = gates.assess(Precision.BF16, test, reference, dict.fromkeys(reference, QUIET)).failures
    return str(failure), failure.gate


@pytest.mark.parametrize(
    ("test", "told", "gate"),
    [
        (
            np.zeros((40, 16)),
            "embeds: constant: rows differ by a spread of 0 where the reference's differ by {spread:.3g}",
            Gate.CONSTANT,
        ),
        (np.full((40, 16), np.inf), "embeds: 40 of 40 rows are not finite (NaN or infinity)", Gate.FINITE),
        (
            rows(count=39),
            "embeds: shape (39, 16) where the reference has (40, 16): another tower's output, or rows lost",
            Gate.OUTPUT,
        ),
        (
            np.ones((40, 16), np.int8),
            "embeds: int8 of 2 axes where rows of floats were expected",
            Gate.OUTPUT,
        ),
    ],
    ids=["constant", "infinite", "fewer", "integers"],
)
def test_each_refusal_is_told_in_words(test, told, gate):
    reference = rows()

    assert refused({"embeds": test}, {"embeds": reference}) == (told.format(spread=metrics.spread(reference)), gate)


def test_a_reference_that_cannot_judge_is_told_in_words():
    none = rows()
    none[3, 3] = np.nan

    assert refused({"embeds": rows()}, {"embeds": none}) == (
        "embeds: the reference itself has 1 of 40 rows that are not finite; build it again",
        Gate.REFERENCE,
    )
    assert refused({"embeds": np.ones((40, 16))}, {"embeds": np.ones((40, 16))})[0] == (
        "embeds: the reference's 40 rows do not differ, so nothing can be told apart; give other samples"
    )


def test_rows_of_other_samples_are_told_with_both_drifts():
    reference = rows()
    test = reference.copy()
    test[[0, 1]] = reference[[1, 0]]
    own = float(metrics.drift(reference[:1], reference[1:2])[0])

    told, gate = refused({"embeds": test}, {"embeds": reference})

    assert told == (
        f"embeds: 2 of 40 rows are another sample's: permuted or repeated (mean drift {own:.3g} to their own reference, "
        "0 to the nearest)"
    )
    assert gate is Gate.ROWS


def test_another_graphs_output_is_told_with_what_two_samples_have():
    reference = rows() + 1
    quality = gates.assess(Precision.BF16, {"e": -reference}, {"e": reference}, {"e": QUIET})

    (failure,) = quality.failures
    (figures,) = quality.similarity
    assert failure == (
        f"e: mean cosine -1 to the reference, where two samples have {figures.between:.6g}, and 0.0% of rows identified: "
        "the output of other samples, another tower or model"
    )
    assert failure.gate is Gate.STRANGER


@pytest.mark.parametrize("rows_", [np.ones(3), np.ones((3, 2, 2))], ids=["flat", "deep"])
def test_drift_is_of_rows_alone_and_says_so(rows_):
    with pytest.raises(ValueError, match="cannot be compared") as refusal:
        metrics.drift(rows_, rows_)

    assert str(refusal.value) == (
        f"rows of shapes {rows_.shape} and {rows_.shape} cannot be compared; give two arrays (n, width)"
    )


def test_what_metrics_refuse_is_told_in_words():
    compared = metrics.compare("e", np.zeros((0, 2)), np.zeros((0, 2)), {})
    for asked, told in (
        (lambda: metrics.similarity(compared, 0.0), "e: no rows to compare; give at least one"),
        (
            lambda: metrics.ranks(np.ones((2, 3)), np.array([0, 3])),
            "labels must be (2,) integers from 0 to 2; leave unlabelled samples out",
        ),
        (
            lambda: metrics.places(np.ones((2, 3)), np.ones((3, 2), bool)),
            "scores (2, 3) and positives (3, 2) must both be (queries, items)",
        ),
        (
            lambda: metrics.agreement(np.ones((2, 3)), np.ones((3, 2))),
            "scores of shapes (2, 3) and (3, 2) must both be (n, classes)",
        ),
    ):
        with pytest.raises(ValueError, match=r".") as refusal:
            asked()
        assert str(refusal.value) == told


def test_shapes_that_do_not_fit_are_told_in_words():
    own = scores.Embeddings(images=rows(1, 4), prompts=rows(2, 3), captions=rows(3, 5))

    with pytest.raises(ValueError, match="must be") as refusal:
        scores.answer_towers(own, own, labels=np.zeros(3, int), positives=np.ones((4, 4), bool))

    assert str(refusal.value) == "labels (3,) and positives (4, 4) must be (4,) and (4, 5)"
    with pytest.raises(ValueError, match="give") as refusal:
        retrieval.both(np.ones((5, 4)), np.ones((6, 3)), np.zeros(6, int))
    assert str(refusal.value) == "images (5, 4), texts (6, 3), owners (6,): give (n, width), (m, width), (m,)"
    with pytest.raises(ValueError, match="rows of") as refusal:
        retrieval.both(np.ones((5, 4)), np.ones((2, 4)), np.array([-1, 2]))
    assert str(refusal.value) == "owners from -1 to 2 must be rows of the 5 images"


def test_what_a_cell_is_fed_otherwise_is_told_in_words():
    made = np.zeros((2, 3, 4, 4))

    (shapes,) = fed.transformed("resize", made[0], made)
    (pixels,) = fed.transformed("resize", made + 0.5, made)

    assert shapes == "resize: the transform makes (3, 4, 4) where its description makes (2, 3, 4, 4)"
    assert pixels == (
        "resize: the transform's pixels are off by 0.5 in the mean and 0.5 at most, in units of a standard deviation: "
        "another resize, crop, order of channels or normalisation than its description's"
    )
