"""Two series of rounds differ only where their blocks say so, however alike neighbouring rounds are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from clip_bench.errors import UsageError
from clip_bench.timing.paired import interval, resamples, smallest
from clip_bench.timing.windows import change, level

SECONDS = st.lists(st.floats(min_value=1e-6, max_value=10), min_size=4, max_size=40)


def series(drawn, rho, rounds=64):
    """Seconds whose logarithms are an AR(1) process."""
    noise = drawn.standard_normal(rounds + 60)
    return np.exp(0.05 * lfilter([math.sqrt(1 - rho**2)], [1, -rho], noise)[60:])


@given(rounds=SECONDS, factor=st.floats(min_value=0.1, max_value=10))
def test_a_factor_on_every_round_is_the_ratio_without_width(rounds, factor):
    found = change(rounds, [factor * each for each in rounds])

    assert found.ratio.value == pytest.approx(factor)
    assert (found.ratio.low, found.ratio.high) == (pytest.approx(factor), pytest.approx(factor))
    assert found.after_s / found.before_s == pytest.approx(factor)


@given(before=SECONDS, after=SECONDS)
def test_the_ratio_is_that_of_the_levels_and_lies_in_its_interval(before, after):
    found = change(before, after)

    assert found.ratio.value == pytest.approx(found.after_s / found.before_s)
    assert found.ratio.low <= found.ratio.value * (1 + 1e-9)
    assert found.ratio.high >= found.ratio.value * (1 - 1e-9)


@pytest.mark.simulation
@pytest.mark.parametrize("rho", [0.0, 0.6], ids=["apart", "alike"])
def test_series_of_one_truth_are_seldom_told_apart(rho):
    drawn = np.random.default_rng(0)

    wrong = [change(series(drawn, rho), series(drawn, rho)).ratio.excludes_one for _ in range(300)]

    assert np.mean(wrong) < 0.12


@pytest.mark.simulation
def test_the_least_effect_is_seen_about_four_times_in_five():
    drawn = np.random.default_rng(0)
    least = np.median([change(series(drawn, 0.3), series(drawn, 0.3)).least for _ in range(100)])

    seen = [change(series(drawn, 0.3), (1 + least) * series(drawn, 0.3)).ratio.low > 1 for _ in range(300)]

    assert 0.65 < np.mean(seen) < 0.95


def test_few_rounds_have_a_ratio_and_no_interval():
    found = change([0.1, 0.2, 0.3], [0.4] * 64)

    assert (found.before_s, found.after_s) == (pytest.approx(0.2), pytest.approx(0.4))
    assert (found.ratio, found.least) == (None, None)


def test_one_slow_round_in_a_block_counts_where_requests_overlap_alone():
    calm = [0.01] * 64
    burst = [0.01] * 63 + [0.1]

    assert change(calm, burst).ratio.value == pytest.approx(1)
    assert change(calm, burst, overlapping=True).ratio.value > 1.05


@pytest.mark.parametrize("rounds", [[], [0.1, -1.0], [0.1, math.nan]], ids=["none", "negative", "nan"])
def test_what_is_no_time_is_refused(rounds):
    with pytest.raises(UsageError, match="round"):
        change([0.1] * 8, rounds)


@given(rounds=st.lists(st.floats(min_value=1e-6, max_value=10), min_size=1, max_size=40), overlapping=st.booleans())
def test_a_level_is_the_one_that_a_comparison_tells(rounds, overlapping):
    found = change(rounds, [0.1] * 64, overlapping=overlapping)

    assert level(rounds, overlapping=overlapping) == found.before_s


@pytest.mark.parametrize(
    ("rounds", "overlapping", "expected"),
    [
        ([1.0, 2.0, 9.0], False, 2.0),
        ([1.0, 2.0, 9.0], True, 4.0),
        ([1.0, 1.0, 4.0, 4.0], False, 2.0),
        ([1.0, 1.0, 7.0] * 4 + [4.0, 4.0, 7.0] * 4, False, 2.0),
        ([1.0, 1.0, 7.0] * 4 + [4.0, 4.0, 7.0] * 4, True, 15**0.5),
    ],
    ids=["few", "few_overlapping", "a_block_each", "blocks", "blocks_overlapping"],
)
def test_a_level_is_the_geometric_mean_of_eight_blocks(rounds, overlapping, expected):
    assert level(rounds, overlapping=overlapping) == pytest.approx(expected)


def test_by_itself_a_level_is_that_of_medians():
    assert level([1.0, 2.0, 9.0]) == 2.0
    assert change([1.0, 2.0, 9.0], [1.0, 2.0, 9.0]).before_s == pytest.approx(2.0)
    assert change([1.0, 2.0, 9.0], [1.0, 2.0, 9.0], overlapping=True).before_s == pytest.approx(4.0)


def test_both_sides_are_cut_into_as_many_blocks_as_the_lesser_has_rounds():
    found = change([1.0, 2.0, 1.0, 2.0], [2.0, 2.0, 4.0, 4.0, 2.0, 2.0, 4.0, 4.0])

    assert (found.ratio.value, found.ratio.low, found.ratio.high) == pytest.approx((2.0, 2.0, 2.0))


def test_the_confidence_and_the_seed_are_those_asked_for():
    drawn = np.random.default_rng(3)
    before, after = series(drawn, 0.3), series(drawn, 0.3)

    narrow, wide = change(before, after, confidence=0.5), change(before, after)

    assert wide.ratio.low < narrow.ratio.low < narrow.ratio.high < wide.ratio.high
    assert change(before, after, confidence=0.95, seed=0) == wide
    assert change(before, after, seed=1).ratio.low != wide.ratio.low


def test_what_is_told_of_two_series_follows_from_the_logarithms_of_eight_levels():
    drawn = np.random.default_rng(4)
    before, after = series(drawn, 0.3), 1.5 * series(drawn, 0.3)
    logs = [np.log(np.median(each.reshape(8, 8), axis=1)) for each in (before, after)]

    found = change(before, after)

    assert (found.before_s, found.after_s) == pytest.approx(np.exp([each.mean() for each in logs]))
    assert found.ratio == interval(logs[1] - logs[0], resamples(8, 0), 0.95)
    assert found.least == smallest(logs[1] - logs[0], found.ratio)


@pytest.mark.parametrize(("rounds", "told"), [(3, False), (4, True)])
def test_four_rounds_on_each_side_have_an_interval(rounds, told):
    for sides in (([0.1] * rounds, [0.1] * 64), ([0.1] * 64, [0.1] * rounds)):
        found = change(*sides)
        assert (found.ratio is not None, found.least is not None) == (told, told)
