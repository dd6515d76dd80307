"""Each gate catches its kind, and only its kind."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clip_bench.quality import gates, metrics
from clip_bench.quality.noise import Noise
from clip_bench.record import Answered, Entry, Outcome, Quality, Record, from_json, to_json
from clip_bench.specs import Precision

QUIET = Noise(again=np.zeros(9), batch=np.full(9, 1e-13), threads=np.full(9, 1e-14))
few = settings(max_examples=30, deadline=None)


def draw(seed, rows=60, width=32):
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


def ordinary(seed, rows=60, width=32):
    """Like trained embeddings: two rows have a cosine near 0.5."""
    common = draw(99, 1, width)
    return common + draw(seed, rows, width)


def crowded(seed, rows=60, width=32):
    """Like the embeddings of random weights: two rows have a cosine above 0.99."""
    return 10 + np.float32(0.5) * draw(seed, rows, width)


def assess(test, reference, precision=Precision.FP32, answered=()):
    return gates.assess(precision, {"embeds": test}, {"embeds": reference}, {"embeds": QUIET}, answered)


def only_failure(quality):
    assert len(quality.failures) == 1, quality.failures
    return quality.failures[0]


both = pytest.mark.parametrize("make", [ordinary, crowded], ids=["ordinary", "crowded"])
everywhere = pytest.mark.parametrize("precision", [pytest.param(p, id=f"kind{i}") for i, p in enumerate(Precision)])


@both
@everywhere
def test_the_reference_itself_passes_everywhere(make, precision):
    rows = make(1)

    assert assess(rows.copy(), rows, precision).failures == ()


@both
@pytest.mark.parametrize("factor", [1e-3, 0.5, 100.0])
def test_scale_is_not_a_failure(make, factor):
    rows = make(2)

    quality = assess(rows * np.float32(factor), rows)

    assert quality.failures == ()
    assert quality.similarity[0].mean == pytest.approx(1, abs=1e-12)


@both
@few
@given(seed=st.integers(0, 2**32 - 1))
def test_small_noise_passes(make, seed):
    rows = make(3)

    assert assess(rows + np.float32(1e-4) * draw(seed), rows).failures == ()


def test_half_precision_rows_pass_their_floors():
    rows = ordinary(4)

    assert assess(rows.astype(np.float16), rows, Precision.FP16).failures == ()


@both
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=["nan", "inf", "minus_inf"])
def test_one_row_that_is_not_finite_is_refused(make, value):
    rows = make(5)
    test = rows.copy()
    test[7, 3] = value

    quality = assess(test, rows, Precision.INT8_QDQ)

    assert "embeds: 1 of 60 rows are not finite" in only_failure(quality)
    assert quality.similarity[0].minimum == 0.0


def test_rows_that_are_all_unknown_are_refused():
    rows = ordinary(6)

    assert "60 of 60 rows are not finite" in only_failure(assess(rows * np.float32(np.nan), rows))


def _zeros(rows):
    return np.zeros_like(rows)


def _first(rows):
    return np.repeat(rows[:1], len(rows), axis=0)


def _scaled(rows):
    return np.outer(np.arange(1, len(rows) + 1), rows[0])


def _nearly(rows):
    return _first(rows) + np.float32(1e-4) * draw(7, *rows.shape)


@both
@everywhere
@pytest.mark.parametrize("freeze", [_zeros, _first, _scaled, _nearly], ids=["zeros", "first", "scaled", "nearly"])
def test_constants_are_refused(make, precision, freeze):
    rows = make(8)

    quality = assess(freeze(rows), rows, precision)

    assert "constant" in only_failure(quality)
    assert quality.similarity[0].identified <= 0.1


@both
@everywhere
def test_shuffled_rows_are_refused(make, precision):
    rows = make(9)

    failure = only_failure(assess(rows[np.random.default_rng(9).permutation(60)], rows, precision))

    assert "permuted or repeated" in failure


@both
@everywhere
def test_two_exchanged_rows_are_refused(make, precision):
    rows = make(10)
    test = rows.copy()
    test[[4, 5]] = rows[[5, 4]]

    assert "2 of 60 rows are another sample's" in only_failure(assess(test, rows, precision))


@both
def test_exchanged_rows_are_seen_through_noise(make):
    rows = make(10)
    test = rows + np.float32(0.05) * draw(11)
    test[[4, 5]] = test[[5, 4]]

    assert "2 of 60 rows are another sample's" in only_failure(assess(test, rows, Precision.INT8_NNCF))


@both
def test_a_batch_that_repeats_its_first_row_is_refused(make):
    rows = make(11)
    test = rows.copy()
    test[8:16] = rows[8]

    assert "7 of 60 rows are another sample's" in only_failure(assess(test, rows, Precision.INT8_DYNAMIC))


@both
@everywhere
def test_the_output_of_another_tower_is_refused(make, precision):
    rows = make(12)

    failure = only_failure(assess(draw(13), rows, precision))

    assert "another tower or model" in failure


@both
@everywhere
def test_the_same_tower_fed_with_other_samples_is_refused(make, precision):
    failure = only_failure(assess(make(15), make(14), precision))

    assert "the output of other samples" in failure


def test_samples_that_differ_within_a_duplicate_are_not_permuted():
    rows = np.concatenate([ordinary(16, 30), ordinary(16, 30)])

    assert assess(np.roll(rows, 30, axis=0), rows).failures == ()


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (np.ones((60, 16), dtype=np.float32), "shape (60, 16) where the reference has (60, 32)"),
        (np.ones((59, 32), dtype=np.float32), "shape (59, 32)"),
        (np.ones(60 * 32, dtype=np.float32), "shape (1920,)"),
        (np.ones((60, 32), dtype=np.int8), "int8 of 2 axes"),
        (np.full((60, 32), None), "object of 2 axes"),
        (np.ones((0, 32), dtype=np.float32), "shape (0, 32)"),
    ],
    ids=["narrower", "fewer", "flat", "integers", "objects", "empty"],
)
def test_malformed_outputs_are_refused_without_similarity(test, said):
    quality = assess(test, ordinary(17))

    assert said in only_failure(quality)
    assert quality.similarity == ()


def test_a_missing_output_is_refused_by_name():
    rows = ordinary(18)

    quality = gates.assess(Precision.FP32, {"other": rows}, {"embeds": rows}, {"embeds": QUIET})

    assert quality.failures == ("embeds: no such output, only other",)


def test_nothing_to_compare_with_is_no_pass():
    assert gates.assess(Precision.FP32, {"embeds": ordinary(18)}, {}, {}).failures


def test_each_output_is_judged():
    rows = ordinary(19)
    bad = np.full_like(rows, np.nan)

    quality = gates.assess(Precision.FP32, {"a": rows, "b": bad}, {"a": rows, "b": rows}, {"a": QUIET, "b": QUIET})

    assert [figures.output for figures in quality.similarity] == ["a", "b"]
    assert only_failure(quality).startswith("b: 60 of 60")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (np.full((4, 8), np.nan, dtype=np.float32), "the reference itself has 4 of 4 rows"),
        (np.ones((4, 8), dtype=np.float32), "rows do not differ"),
        (np.ones((1, 8), dtype=np.float32), "rows do not differ"),
        (np.ones((0, 8), dtype=np.float32), "0 rows do not differ"),
    ],
    ids=["nan", "constant", "single", "empty"],
)
def test_a_reference_that_cannot_judge_passes_nothing(reference, said):
    assert said in only_failure(assess(reference.copy(), reference))


def turned(rows, drift, seed=20):
    """Rows at 1 - *drift* cosine to *rows*, each turned its own way."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    aside = draw(seed, *rows.shape).astype(np.float64)
    aside -= units * (aside * units).sum(axis=1, keepdims=True)
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    return (1 - drift) * units + np.sqrt(1 - (1 - drift) ** 2) * aside


@everywhere
def test_the_mean_floor_divides_what_passes(precision):
    rows, floor = ordinary(21).astype(np.float64), gates.FLOORS[precision].mean

    above = assess(turned(rows, 0.9 * (1 - floor)), rows, precision)
    below = assess(turned(rows, 1.1 * (1 - floor)), rows, precision)

    assert above.failures == ()
    assert "mean cosine" in only_failure(below)
    assert str(precision) in below.failures[0]


@everywhere
def test_one_row_far_off_fails_though_the_mean_holds(precision):
    rows, floors = ordinary(22, rows=400).astype(np.float64), gates.FLOORS[precision]
    test = rows.copy()
    test[0] = turned(rows, 1.5 * (1 - floors.minimum))[0]

    quality = assess(test, rows, precision)

    assert quality.similarity[0].mean > floors.mean
    assert "worst row's cosine" in only_failure(quality)


def test_rows_drowned_in_noise_are_refused_though_the_cosine_holds():
    rows = crowded(23).astype(np.float64)

    quality = assess(rows + 1.5 * draw(24), rows, Precision.INT8_QDQ)

    assert quality.similarity[0].mean > gates.FLOORS[Precision.INT8_QDQ].mean
    assert "of rows identified" in only_failure(quality)


def test_rows_that_all_lean_the_same_way_are_still_this_graphs():
    rows = crowded(23, width=256).astype(np.float64)
    test = rows + 0.8 * draw(24, 1, 256)
    test[0] = test.mean(axis=0)

    quality = assess(test, rows, Precision.INT8_QDQ)

    assert quality.similarity[0].mean < quality.similarity[0].between
    assert 0.9 < quality.similarity[0].identified < 1
    assert quality.failures == ()


def test_rows_that_are_hard_to_tell_apart_fail_though_the_cosine_holds():
    rows = crowded(23, width=8).astype(np.float64)

    quality = assess(rows + 0.4 * draw(24, width=8), rows, Precision.INT8_QDQ)

    assert quality.similarity[0].mean > gates.FLOORS[Precision.INT8_QDQ].mean
    assert "share of rows identified" in only_failure(quality)


def test_lower_precision_never_asks_for_more():
    order = [Precision.FP32, Precision.FP16, Precision.BF16, Precision.A16W8, Precision.INT8_QDQ]

    for field in ("mean", "minimum", "identified"):
        floors = [getattr(gates.FLOORS[precision], field) for precision in order]
        assert floors == sorted(floors, reverse=True)


@everywhere
def test_every_precision_has_floors_with_a_reason(precision):
    floors = gates.FLOORS[precision]

    assert 0 < floors.minimum < floors.mean < 1
    assert floors.why


def answered(name="top1", value=0.5, samples=1000):
    """What gives such a score, where the reference has 0.6."""
    own, reference = ([0 if place < share * samples else 99 for place in range(samples)] for share in (value, 0.6))
    told = {"own": " ".join(map(str, own)), "reference": " ".join(map(str, reference))}
    return Answered(name=name.rstrip("0123456789"), ks=() if name == "agreement" else (int(name[-1]),), **told)


@pytest.mark.parametrize("name", ["top1", "t2i_r1", "i2t_r1"], ids=["first", "by_words", "by_picture"])
def test_accuracy_below_its_share_of_the_reference_fails(name):
    rows = ordinary(25)

    quality = assess(rows, rows, answered=(answered(name, value=0.593),))

    assert only_failure(quality).startswith(f"{name}: 0.5930 over 1000 samples is below 0.5940")


@pytest.mark.parametrize(
    "harmless",
    [
        answered(value=0.595),
        answered(value=0.9),
        answered(samples=499),
        answered("top5"),
        answered("agreement"),
        answered("t2i_r5"),
    ],
    ids=["close", "better", "few", "top5", "agreement", "lax"],
)
def test_other_scores_do_not_fail(harmless):
    rows = ordinary(26)

    quality = assess(rows, rows, answered=(harmless,))

    assert quality.failures == ()
    assert len(quality.scores) == 1
    assert quality.answered == (harmless,)


def test_a_refused_output_is_not_held_against_floors_too():
    rows = ordinary(27)

    failures = assess(np.zeros_like(rows), rows, answered=(answered(value=0.0),)).failures

    assert len(failures) == 1
    assert "constant" in failures[0]


garbage = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.float64, np.int64]),
    st.sampled_from([(6, 4), (6, 3), (5, 4), (24,), (6, 4, 1)]),
)


@settings(max_examples=60, deadline=None)
@given(garbage)
def test_garbage_never_raises_nor_warns_and_its_quality_is_json(test):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quality = assess(test, ordinary(29, 6, 4))

    assert isinstance(quality, Quality)
    assert quality.failures
    assert round_trip(quality) == quality


def round_trip(quality):
    words = dict.fromkeys(("case", "tower", "model", "target", "precision", "variant", "weights"), "x")
    entry = Entry(
        case="x", boundary="", outcome=Outcome.GATE_FAILED, reason="", record=Record(**words, quality=quality)
    )
    return from_json(to_json([entry]))[0].record.quality


@pytest.mark.parametrize(("times", "refused"), [(2.9, False), (3.1, True)])
def test_a_cell_that_drifts_further_than_it_is_known_to_is_another(times, refused):
    rows = ordinary(31).astype(np.float64)
    test = rows + 1e-4 * draw(32)
    drift = float(1 - metrics.cosine(test, rows).mean())

    quality = gates.assess(
        Precision.FP32, {"embeds": test}, {"embeds": rows}, {"embeds": QUIET}, known={"embeds": drift / times}
    )

    assert [failure.gate for failure in quality.failures] == [gates.Gate.KNOWN] * refused
    assert quality.similarity[0].known_drift == drift / times


def test_a_known_drift_of_nothing_leaves_room_for_the_noise():
    rows = ordinary(33).astype(np.float64)

    quality = gates.assess(
        Precision.FP32, {"embeds": rows * (1 + 1e-9)}, {"embeds": rows}, {"embeds": QUIET}, known={"embeds": 0.0}
    )

    assert quality.failures == ()


@pytest.mark.parametrize(
    ("altered", "gate"),
    [
        (lambda rows: rows * np.nan, gates.Gate.FINITE),
        (np.ones_like, gates.Gate.CONSTANT),
        (lambda rows: np.roll(rows, 1, axis=0), gates.Gate.ROWS),
        (lambda rows: -rows, gates.Gate.STRANGER),
        (lambda rows: rows[:-1], gates.Gate.OUTPUT),
        (lambda rows: rows + np.float32(0.2) * draw(7), gates.Gate.MEAN),
    ],
    ids=["nans", "constants", "moved", "negated", "fewer", "noisy"],
)
def test_a_failure_names_its_gate_and_keeps_it_in_a_copy(altered, gate):
    failures = assess(altered(ordinary(34)), ordinary(34)).failures

    assert failures[0].gate is gate
    assert copy.deepcopy(failures)[0].gate is gate
    assert from_json(to_json([entry(failures)]))[0].reason == failures[0]


def entry(failures):
    quality = Quality(similarity=(), scores=(), failures=failures)
    record = Record(
        case="a", tower="a", model="a", target="a", precision="fp32", variant="", weights="x", quality=quality
    )
    return Entry(case="a", boundary="", outcome=Outcome.GATE_FAILED, reason=failures[0], record=record)
