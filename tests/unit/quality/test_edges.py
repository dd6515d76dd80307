"""Edges: what is exactly at a bound, what each refusal says, and what of nothing is."""

import numpy as np
import pytest

from clip_bench.quality import fed, gates, metrics, noise, retrieval, scores
from clip_bench.quality.gates import Gate
from clip_bench.quality.noise import Noise
from clip_bench.record import Score, Similarity
from clip_bench.specs import Precision

QUIET = Noise(again=np.zeros(9), batch=np.zeros(9), threads=np.zeros(9))
FLOORS = gates.FLOORS[Precision.BF16]
KNOWN = 2.0**-30


def similar(**figures):
    whole = {"mean": 1.0, "minimum": 1.0, "p1": 1.0, "between": 0.5, "identified": 1.0}
    return Similarity(output="embeds", rows=9, floor_drift=1e-14, drift_ratio=1.0, **(whole | figures))


def unheld(*several, score=()):
    return gates.unheld(Precision.BF16, several, score)


def rows(seed=1, count=40):
    return np.random.default_rng(seed).standard_normal((count, 16))


def refused(test, reference):
    (failure,) = gates.assess(Precision.BF16, test, reference, dict.fromkeys(reference, QUIET)).failures
    return str(failure), failure.gate


@pytest.mark.parametrize(
    ("figure", "floor", "told", "gate"),
    [
        ("mean", FLOORS.mean, "mean cosine", Gate.MEAN),
        ("minimum", FLOORS.minimum, "worst row's cosine", Gate.WORST),
        ("identified", FLOORS.identified, "share of rows identified", Gate.IDENTIFIED),
    ],
)
def test_a_floor_is_held_at_its_own_value_and_not_below(figure, floor, told, gate):
    below = float(np.nextafter(floor, 0))

    assert unheld(similar(**{figure: floor})) == ()
    (failure,) = unheld(similar(**{figure: below}))
    assert failure == f"embeds: {told} {below:.7g} is below {floor:g} for bf16 ({FLOORS.why})"
    assert failure.gate is gate


def test_a_cell_may_drift_three_times_what_is_known_and_no_further():
    at, beyond = 1 - 3 * KNOWN, 1 - 3.5 * KNOWN

    assert unheld(similar(mean=at, known_drift=KNOWN)) == ()
    (failure,) = unheld(similar(mean=beyond, known_drift=KNOWN))
    assert failure == (
        f"embeds: mean drift {1 - beyond:.3g} is more than 3 times the {KNOWN:.3g} that this cell is known to have: "
        "another graph, recipe or kernel than those it was measured with"
    )
    assert failure.gate is Gate.KNOWN


def test_accuracy_is_gated_from_as_many_samples_as_tell_a_point():
    due = gates.ACCURACY_SHARE * 0.5
    at = Score(name="top1", value=due, reference=0.5, samples=gates.ENOUGH_SAMPLES)
    under = Score(name="top1", value=0.4, reference=0.5, samples=gates.ENOUGH_SAMPLES)
    few = Score(name="top1", value=0.4, reference=0.5, samples=gates.ENOUGH_SAMPLES - 1)

    assert unheld(score=[at, few]) == ()
    (failure,) = unheld(score=[under])
    assert failure == ("top1: 0.4000 over 500 samples is below 0.4950, 99% of the reference's 0.5000 (MLPerf's rule)")
    assert failure.gate is Gate.ACCURACY


def test_no_reference_and_no_output_are_told_as_such():
    assert refused({"a": rows()}, {}) == (
        "there is no reference output, so nothing was compared",
        Gate.REFERENCE,
    )
    assert refused({}, {"embeds": rows()}) == ("embeds: no such output, only none at all", Gate.OUTPUT)
    assert refused({"b": rows(), "a": rows()}, {"embeds": rows()}) == ("embeds: no such output, only a, b", Gate.OUTPUT)


def test_a_reference_that_does_not_differ_judges_nothing():
    told, gate = refused({"embeds": rows()}, {"embeds": np.ones((40, 16))})

    assert told.startswith("embeds: the reference's 40 rows do not differ")
    assert gate is Gate.REFERENCE


def test_what_was_compared_is_kept_with_the_figures():
    quality = gates.assess(Precision.BF16, {"embeds": rows()}, {"embeds": rows()}, {"embeds": QUIET})

    assert [each.output for each in quality.compared] == ["embeds"]
    assert len(quality.compared[0].drift.split()) == 40


def test_a_row_that_is_as_near_to_its_own_as_to_another_is_its_own():
    reference = rows()
    twice = np.concatenate([reference, reference])

    assert gates.assess(Precision.BF16, {"e": twice}, {"e": twice}, {"e": QUIET}).failures == ()


def test_a_miss_has_no_rank_and_no_place():
    seen = np.array([[0.1, np.nan], [0.3, 0.2]])
    right = np.array([[False, True], [True, False]])

    assert metrics.ranks(seen, np.array([1, 0])).tolist() == [-1, 0]
    assert metrics.places(seen, right).tolist() == [-1, 0]
    assert metrics.places(np.zeros((2, 0)), np.zeros((2, 0), bool)).tolist() == [-1, -1]


def test_one_row_without_numbers_takes_no_prediction_from_another():
    assert metrics.predicted(np.array([[np.nan, 1.0], [0.2, 0.1], [0.1, 0.2]])).tolist() == [-1, 0, 1]


def test_the_share_of_nothing_is_none():
    assert metrics.share(np.zeros(0), 1) == 0.0
    assert metrics.alike(np.zeros(0), np.zeros(0)) == 0.0


@pytest.mark.parametrize(("far", "refusals"), [(2.5, 1), (1.9, 0)])
def test_a_fiftieth_of_the_pixels_may_not_be_two_steps_off(far, refusals):
    made = np.zeros((1, 3, 100, 100))
    off = made.copy()
    off[..., :2, :] = far * fed.STEP

    assert len(fed.transformed("picture", off, made)) == refusals


def test_a_transform_is_held_in_double_width():
    made = np.full((1, 3, 8, 8), 200, np.uint8)

    assert fed.transformed("picture", made, made.astype(np.float64)) == ()
    assert fed.transformed("picture", made, made.astype(np.uint8) + np.uint8(100)) != ()


def test_each_row_of_ids_is_counted_once_and_no_other():
    right = [fed.START, 5, fed.END, 0, 0]
    longer, strange = [fed.START, 5, fed.END, 7, 0], [fed.START, -1, fed.END, 0, 0]

    assert str(fed.tokenized(np.array([right, longer, right]))[0]) == "tokens: 1 of 3 texts go on after their end"
    assert str(fed.tokenized(np.array([right, strange, right]))[0]) == "tokens: 1 of 3 texts hold ids out of range"
    assert str(fed.tokenized(np.array([longer, right, longer]))[0]) == "tokens: 2 of 3 texts go on after their end"
    assert str(fed.tokenized(np.array([strange, strange, right]))[0]) == "tokens: 2 of 3 texts hold ids out of range"


@pytest.mark.parametrize(("far", "refusals"), [(0.995, 0), (1.005, 1)])
def test_a_sample_is_the_same_within_a_hundredth_of_a_step(far, refusals):
    given = np.full((2, 3, 4, 4), 200.0)
    off = given.copy()
    off[1, 2, 3, 3] += far * fed.STEP / 100

    found = fed.given("picture", off, given)

    assert [str(each) for each in found] == ["picture: 1 of 2 samples are not what the reference was fed"] * refusals


def test_of_two_classes_there_is_a_best_and_of_one_there_is_none():
    logits = np.array([[0.2, 0.1], [0.1, 0.2]])

    told = scores.answer_pair(logits, logits, np.array([0, 1]))

    assert [each.name for each in told] == ["top", "agreement"]
    assert [each.ks for each in told] == [(1,), ()]
    assert scores.answer_pair(logits[:, :1], logits[:, :1], np.array([0, 0])) == ()


def test_as_many_wrong_items_as_k_can_miss():
    draw = np.random.default_rng(3)
    own = scores.Embeddings(
        images=draw.standard_normal((6, 8)), prompts=np.zeros((0, 8)), captions=draw.standard_normal((6, 8))
    )

    told = scores.answer_towers(own, own, labels=np.full(6, -1), positives=np.eye(6, dtype=bool))

    assert {each.name: each.ks for each in told} == {"t2i_r": (1, 5), "i2t_r": (1, 5)}


def test_a_query_for_which_all_is_right_leaves_nothing_to_find():
    own = scores.Embeddings(images=rows(4, 3), prompts=np.zeros((0, 16)), captions=rows(5, 2))
    positives = np.array([[True, True], [True, False], [False, True]])

    told = scores.answer_towers(own, own, labels=np.full(3, -1), positives=positives)

    assert [each.name for each in told] == ["t2i_r"]


def test_the_noise_of_no_rows_is_refused_in_words():
    none = np.zeros((0, 4))

    with pytest.raises(ValueError, match=r"^the noise floor needs at least one row of the reference$"):
        noise.measure(none, again=none, batch=none, threads=none)


def test_where_k_is_all_there_is_nothing_can_miss_and_nothing_is_told():
    found = retrieval.recalls(rows(6, 1), rows(7, 3), np.zeros(3, np.intp), (1,))

    assert set(found) == {"t2i_r1", "i2t_r1"}
    assert np.isnan(found["t2i_r1"])
    assert found["i2t_r1"] == 1.0


def test_a_spread_of_a_hundredth_of_the_references_is_none():
    reference = np.concatenate([np.eye(8), -np.eye(8)])
    common = np.zeros(8)
    common[0] = 1.0

    def told(share):
        """Rows about *common*, of which the spread is seven eighths of *share*: one direction in eight is its own."""
        return refused({"e": common + np.sqrt(share) * reference}, {"e": reference})[1]

    assert told(0.0113) is Gate.CONSTANT
    assert told(0.0118) is not Gate.CONSTANT


def test_figures_of_a_cell_are_those_of_its_rows():
    reference = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])
    test = np.array([[3.0, 0.0], [4.0, 3.0], [1.0, 1.0], [-1.0, 0.0]])

    compared = metrics.compare("e", test, reference, {"again": np.array([0.1, 0.3]), "batch": np.array([0.5, 0.0])})
    figures = metrics.similarity(compared, 0.25, 0.125)

    assert (compared.drift, compared.identified) == ("0 0.4 0 0", "1 0 1 1")
    assert (compared.difference, compared.floor) == ("1 3 0 0", {"again": "0.1 0.3", "batch": "0.5 0"})
    assert (figures.output, figures.rows, figures.between, figures.known_drift) == ("e", 4, 0.25, 0.125)
    assert (figures.mean, figures.minimum, figures.identified) == pytest.approx((0.9, 0.6, 0.75))
    assert figures.p1 == pytest.approx(0.6 + 0.03 * 0.4)
    assert (figures.floor_drift, figures.drift_ratio, figures.difference) == pytest.approx((0.25, 0.4, 1.0))


def test_without_ways_the_floor_is_the_least_and_what_is_infinite_has_no_difference():
    compared = metrics.compare("e", np.array([[np.inf, 1.0]]), np.array([[1.0, 1.0]]), {})
    figures = metrics.similarity(compared, 0.0)

    assert (figures.floor_drift, figures.difference, figures.known_drift) == (metrics.LEAST_FLOOR, None, None)


def test_a_row_without_direction_is_like_nothing_whatever_the_others_are():
    test, reference = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0]])

    assert metrics.drift(test, reference).tolist() == [1.0, 0.0]
    assert metrics.drift(reference, test).tolist() == [1.0, 0.0]


def test_a_difference_is_taken_in_double_width_and_of_the_infinite_without_a_warning():
    wide = metrics.difference(np.full((1, 2), 6e4, np.float16), np.full((1, 2), -6e4, np.float16))

    assert (wide.tolist(), wide.dtype) == ([120000.0], np.float64)
    assert np.isnan(metrics.difference(np.array([[np.inf, 1.0]]), np.array([[np.inf, 1.0]]))).all()
