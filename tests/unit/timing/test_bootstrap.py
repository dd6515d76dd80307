"""The interval of a comparison, its false positives and its least effect are those of their definitions, written out."""

import math
from itertools import count, product

import numpy as np
import pytest

from clip_bench.errors import UsageError
from clip_bench.record import Paired
from clip_bench.timing import paired
from clip_bench.timing.paired import Interval, Side, interval, measure, ratio, resamples, smallest


def drawn(groups, seed=1):
    return np.random.default_rng(seed).normal(0.05, 0.1, groups)


def by_hand(differences, counts, confidence):
    """Efron and Tibshirani's bootstrap-t, a resample at a time; one of a single group alone has no pivot."""
    mean = sum(differences) / len(differences)
    pivots = []
    for shares in counts.tolist():
        moved = sum(share * each for share, each in zip(shares, differences, strict=True))
        variance = sum(share * (each - moved) ** 2 for share, each in zip(shares, differences, strict=True))
        if max(shares) < 1:
            pivots.append((moved - mean) / math.sqrt(variance))
    low, high = np.quantile(pivots, [(1 - confidence) / 2, (1 + confidence) / 2])
    spread = math.sqrt(sum((each - mean) ** 2 for each in differences) / len(differences))
    return math.exp(mean), math.exp(mean - high * spread), math.exp(mean - low * spread)


def figures(found):
    return (found.value, found.low, found.high)


def exclude_one(rows, counts, confidence):
    return float(np.mean([interval(row, counts, confidence).excludes_one for row in rows]))


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("groups", [4, 8])
def test_the_interval_is_the_bootstrap_t_of_the_book(groups, confidence):
    differences, counts = drawn(groups), resamples(groups, 3)

    found = interval(differences, counts, confidence)

    assert figures(found) == pytest.approx(by_hand(differences.tolist(), counts, confidence), rel=1e-9)


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 10])
def test_an_interval_is_as_wide_as_its_differences_are_large(factor):
    one, other = (interval(factor * each, resamples(8, 0), 0.95) for each in (drawn(8), 2 * drawn(8)))

    assert np.log(figures(other)) == pytest.approx(2 * np.log(figures(one)), rel=1e-4)
    assert one.low < one.value < one.high


def test_the_ends_of_an_interval_never_leave_the_floats():
    found = interval(4000 * np.array([-1.0, 1.0, -1.0, 1.1]), resamples(4, 0), 0.95)

    assert (found.low, found.high) == (math.exp(-300), math.exp(300))


def test_resamples_draw_as_many_groups_as_there_are_and_each_alike():
    counts = resamples(6, 2)

    assert counts.shape == (1999, 6)
    assert counts.sum(axis=1) == pytest.approx(1)
    assert counts.mean(axis=0) == pytest.approx(1 / 6, abs=0.01)
    assert set(np.round(6 * counts).astype(int).ravel().tolist()) <= set(range(7))
    assert (counts == resamples(6, 2)).all()
    assert (counts != resamples(6, 3)).any()


@pytest.mark.parametrize(
    ("low", "high", "excluded"),
    [(0.9, 1.1, False), (1.0, 1.1, False), (0.9, 1.0, False), (1.01, 1.1, True), (0.9, 0.99, True)],
    ids=["within", "at_the_low_end", "at_the_high_end", "above", "below"],
)
def test_an_interval_excludes_one_where_it_lies_wholly_beside_it(low, high, excluded):
    assert Interval(value=1.0, low=low, high=high).excludes_one is excluded


@pytest.mark.parametrize("groups", [5, 10])
def test_the_false_positives_are_those_of_every_swap_of_two_equal_arms(groups):
    null, counts = drawn(groups, 5) - 0.02, resamples(groups, 0)
    swapped = [null * np.array([1, *signs]) for signs in product((1, -1), repeat=groups - 1)]

    found = paired._false_positives(null, counts, 0.6, 0)

    assert found == exclude_one(swapped, counts, 0.6)
    assert 0 < found < 1


def test_of_many_swaps_some_are_drawn():
    null, counts = drawn(12, 5), resamples(12, 0)
    every = [null * np.array([1, *signs]) for signs in product((1, -1), repeat=11)]

    found = paired._false_positives(null, counts, 0.6, 7)

    assert found * paired.RELABELINGS == round(found * paired.RELABELINGS)
    assert found == pytest.approx(exclude_one(every, counts, 0.6), abs=0.06)
    assert found == paired._false_positives(null, counts, 0.6, 7) != paired._false_positives(null, counts, 0.6, 8)


def test_the_least_effect_is_half_the_interval_and_t_of_its_power_in_standard_errors():
    """By tables: t(0.8) with 7 degrees of freedom is 0.896, and c4 of 8 observations 0.9650."""
    null = np.array([-3.0, -1.0, -1.0, 1.0, 1.0, 1.0, -1.0, 3.0]) / 100
    error = math.sqrt(24e-4 / 7 / 8)

    found = smallest(null, Interval(value=1.0, low=math.exp(-0.02), high=math.exp(0.04)))

    assert math.log1p(found) == pytest.approx((0.03 + 0.896 * error) / 0.9650, rel=2e-3)


def test_a_least_effect_beyond_all_figures_stays_a_number():
    assert smallest(drawn(4), Interval(value=1.0, low=math.exp(-300), high=math.exp(300))) == math.expm1(300)


def blocks(seed=1, groups=6):
    """Random blocks, two a group: the cell is twice as fast, and a fifth faster still on what it saw before."""
    draw = np.random.default_rng(seed)
    times = {"reference_s": 2.0, "own_s": 1.0, "again_s": 2.0, "repeated_s": 1 / 1.25}
    noisy = {arm: tuple(second * np.exp(draw.normal(0, 0.02, 2 * groups))) for arm, second in times.items()}
    return Paired(reference="a", counted=1, uncounted=0, **noisy)


def logs(told, one, other):
    """The differences of two arms, group by group: of the geometric means of their two blocks."""
    arms = [np.sqrt(np.multiply(getattr(told, arm)[::2], getattr(told, arm)[1::2])) for arm in (one, other)]
    return np.log(arms[0] / arms[1])


def test_a_ratio_is_told_of_its_four_arms():
    told, counts = blocks(), resamples(6, 4)
    null = logs(told, "reference_s", "again_s")

    found = ratio(told, confidence=0.8, seed=4)

    pairs = {
        "speedup": ("reference_s", "own_s"),
        "null": ("reference_s", "again_s"),
        "caching": ("own_s", "repeated_s"),
    }
    for name, arms in pairs.items():
        expected = by_hand(logs(told, *arms).tolist(), counts, 0.8)
        assert figures(getattr(found, name)) == pytest.approx(expected, rel=1e-9), name
    assert (found.groups, found.confidence) == (6, 0.8)
    assert found.false_positives == paired._false_positives(null, counts, 0.8, 4)
    assert found.smallest_percent == pytest.approx(100 * smallest(null, found.null))
    assert found.caches


def test_what_is_faster_on_what_it_saw_by_less_than_the_audit_allows_does_not_cache():
    one = (1.0,) * 8

    for factor, caches in ((1.09, False), (1.11, True)):
        told = Paired(
            reference="a", counted=1, uncounted=0, reference_s=one, own_s=(factor,) * 8, again_s=one, repeated_s=one
        )
        assert ratio(told).caches is caches


def test_the_default_interval_is_that_of_95_percent_and_the_first_seed():
    assert ratio(blocks()) == ratio(blocks(), confidence=0.95, seed=0)


class Stopped:
    """A session whose calls take the seconds that it is given, on a clock that only they move."""

    def __init__(self, seconds=()):
        self.now, self.seconds, self.seen = 0.0, iter(seconds), []

    def run(self, feeds):
        self.seen.append(feeds["x"])
        self.now += next(self.seconds, 1.0)


def test_a_block_is_the_lower_quartile_of_its_counted_calls():
    session = Stopped([50.0, 4.0, 1.0, 3.0, 2.0] * 32)
    side = Side(session=session, unseen=({"x": n} for n in count()))

    told = measure("a", side, side, {"x": -1}, groups=4, counted=4, uncounted=1, seed=0, clock=lambda: session.now)

    assert told.own_s == (1.75,) * 8


def order(seed):
    session = Stopped()
    side = Side(session=session, unseen=({"x": 0} for _ in count()))
    measure("a", side, side, {"x": -1}, groups=4, counted=1, uncounted=0, seed=seed, clock=lambda: session.now)
    return session.seen


def test_a_seed_gives_the_same_order_of_arms():
    assert order(3) == order(3) != order(4)


@pytest.mark.parametrize(
    ("groups", "counted", "uncounted"), [(3, 1, 0), (4, 0, 0), (4, 1, -1)], ids=["groups", "counted", "uncounted"]
)
def test_settings_that_compare_nothing_are_refused_in_words(groups, counted, uncounted):
    side = Side(session=Stopped(), unseen=iter([]))

    with pytest.raises(UsageError) as refused:
        measure("a", side, side, {"x": 0}, groups=groups, counted=counted, uncounted=uncounted, seed=0)

    assert str(refused.value) == (
        f"{groups} groups of {counted} counted calls compare nothing: take at least 4 groups and 1 call"
    )


def test_the_last_unseen_one_may_be_used_and_one_less_is_refused_in_words():
    def compare(unseen):
        side = Side(session=Stopped(), unseen=({"x": n} for n in range(unseen)))
        return measure("a", side, side, {"x": -1}, groups=4, counted=1, uncounted=1, seed=0, clock=lambda: 0.0)

    assert compare(48).uncounted == 1
    with pytest.raises(UsageError) as refused:
        compare(47)
    assert str(refused.value) == (
        "the unseen inputs ran out: a block takes 2 new ones; give an iterator that makes as many as are asked"
    )


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_a_confidence_that_is_none_is_refused_in_words(confidence):
    with pytest.raises(UsageError) as refused:
        ratio(blocks(), confidence=confidence)

    assert str(refused.value) == f"no confidence {confidence}: give one between 0 and 1, such as 0.95"


def test_arms_of_unlike_lengths_are_refused_in_words():
    told = Paired(
        reference="a",
        counted=1,
        uncounted=0,
        reference_s=(1.0,) * 8,
        own_s=(1.0,) * 8,
        again_s=(1.0,) * 8,
        repeated_s=(1.0,) * 6,
    )

    with pytest.raises(UsageError) as refused:
        ratio(told)

    assert str(refused.value) == (
        "blocks of [8, 8, 8, 6] in four arms: measure again with at least 4 groups of two each"
    )


def test_a_seed_draws_the_same_swaps_of_many_groups():
    told = blocks(groups=12)

    rates = [ratio(told, confidence=0.5, seed=seed).false_positives for seed in (1, 1, 2)]

    assert rates[0] == rates[1] != rates[2]
