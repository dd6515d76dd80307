"""Where made-up series change, and what is said of them, at the very bounds: simulations tell only how often."""

import math

import numpy as np
import pytest

from clip_bench.record import Conditions
from clip_bench.timing import steady as steadiness
from clip_bench.timing.stability import verdict
from clip_bench.timing.steady import shifts, steady


def mixed(values, seed=0):
    """The same values in an order without course."""
    return np.random.default_rng(seed).permutation(values).tolist()


@pytest.mark.parametrize(
    ("series", "edges"),
    [
        ([2.0] * 28 + [1.0, 2.0] + [1.0] * 30, (28,)),
        ([2.0] * 28 + [1.0] + [2.0] * 9 + [1.0] * 30, (38,)),
        ([1.0] * 20 + [2.0] * 7 + [3.0] * 40, (20, 27)),
        ([1, 1.5] * 10 + [2, 3] * 10 + [1, 1.5] * 10, (20, 40)),
        ([1.0] * 40 + [1.5] * 40 + [1.51] * 40 + [3.0] * 40, (40, 120)),
        ([1.0] * 20 + [2.0] * 5, (20,)),
        ([1.0] * 20 + [2.0] * 3, (20,)),
        ([1.0] * 20 + [2.0] * 2, ()),
    ],
    ids=[
        "one_fast",
        "early_fast",
        "stairs",
        "excursion",
        "alike_levels",
        "briefest",
        "most_of_the_briefest",
        "too_brief",
    ],
)
def test_a_level_begins_where_its_values_do(series, edges):
    assert shifts(series) == edges


def test_a_small_step_beside_a_large_one_is_found():
    draw = np.random.default_rng(1).normal(0, 0.002, 160)
    levels = np.repeat([1.0, 1.1, 9.0, 9.9], 40)

    assert shifts(levels * np.exp(draw)) == (40, 80, 120)


@pytest.mark.parametrize(("before", "after"), [(1000, 1000), (1000, 1001), (1001, 3000), (2501, 2500)])
def test_a_long_series_is_thinned_and_its_edge_is_not(before, after):
    assert shifts([1.0] * before + [2.0] * after) == (before,)


def test_a_block_of_a_thinned_series_is_its_median():
    assert steadiness._medians(np.array([1.0, 9.0, 2.0, 5.0, 4.0, 90.0, 7.0]), 3).tolist() == [2.0, 5.0]


@pytest.mark.parametrize(("slow", "found"), [(75, 75), (76, None)])
def test_the_steady_part_is_at_least_a_quarter_of_the_calls(slow, found):
    assert steady([2.0] * slow + [1.0] * (100 - slow)) == found


@pytest.mark.parametrize("slow", [1, 2, 9, 10, 11])
def test_every_slow_call_of_the_beginning_counts(slow):
    assert steady([3.0] * slow + [1.0, 1.01] * 50) == slow


@pytest.mark.parametrize(
    ("calls", "found"),
    [([5.0] * 12 + [1.0] * 188, 10), ([5.0] * 9 + [1.0] * 27, 9), ([5.0] * 4 + [1.0] * 12, 4), ([1.0] * 16, 0)],
    ids=["most", "a_quarter", "a_quarter_of_few", "even"],
)
def test_the_onset_is_ten_calls_or_a_quarter_at_most(calls, found):
    assert steadiness._onset(np.array(calls)) == found


@pytest.mark.parametrize("unit_s", [1.0, 0.001])
@pytest.mark.parametrize(("first", "found"), [(1.15, 0), (1.157, 1)])
def test_one_slow_call_must_stand_half_as_far_again_as_the_slowest_of_a_hundred(first, found, unit_s):
    """1.1 to the power of 1.5 is 1.1537."""
    assert steady([unit_s * each for each in (first, *mixed([1.0] * 95 + [1.1] * 5))]) == found


@pytest.mark.parametrize(("second", "found"), [(1.1, 0), (1.11, 2)])
def test_two_slow_calls_must_be_slower_than_97_of_a_hundred(second, found):
    """Of the 92 calls after the tenth, three took 1.1: the least of them is the percentile, and nothing between two."""
    assert steady([1.12, second] + [1.0] * 8 + mixed([1.0] * 89 + [1.1] * 3)) == found


@pytest.mark.parametrize(("factor", "found"), [(1.019, 0), (1.021, 2)])
def test_what_no_table_shows_is_no_onset(factor, found):
    assert steady([factor, factor] + [1.0] * 62) == found


def reasons(rounds_s, **seen):
    return verdict(rounds_s, Conditions(window_s=1.0, **seen)).reasons


@pytest.mark.parametrize(("spread", "told"), [(0.0999, False), (0.1001, True)])
def test_a_spread_from_a_tenth_of_the_mean_on_is_a_reason(spread, told):
    assert ("spread 10 %" in reasons(mixed([1 - spread, 1 + spread] * 40))) is told


@pytest.mark.parametrize(
    ("far", "count", "told"),
    [
        (1.5, 6, ("outliers 6 %",)),
        (0.5, 6, ("outliers 6 %",)),
        (1.5, 5, ()),
        (50.0, 5, ()),
        (1.49, 6, ("spread 11 %",)),
    ],
    ids=["above", "below", "few", "far_but_few", "near"],
)
def test_outliers_are_half_of_the_median_off_and_more_than_one_in_twenty(far, count, told):
    assert reasons(mixed([1.0] * (100 - count) + [far] * count)) == told


@pytest.mark.parametrize(
    ("after", "told"),
    [(1.051, ("drift +5 % over the run",)), (1.049, ()), (0.949, ("drift -5 % over the run",)), (0.955, ())],
    ids=["slower", "hardly_slower", "faster", "hardly_faster"],
)
def test_levels_that_are_a_twentieth_apart_are_a_drift(after, told):
    assert reasons([1.0] * 40 + [after] * 40) == told


def test_the_drift_is_that_of_the_level_farthest_from_the_first():
    assert reasons([1.0] * 40 + [1.06] * 40 + [0.92] * 40 + [1.03] * 40) == ("drift -8 % over the run",)


@pytest.mark.parametrize(
    ("slow", "factor", "told"),
    [
        (10, 1.2, ("two modes",)),
        (90, 1.2, ("two modes",)),
        (8, 1.2, ()),
        (92, 1.2, ()),
        (50, 1.051, ("two modes",)),
        (50, 1.049, ()),
    ],
    ids=["tenth", "nine_tenths", "fewer", "more", "apart", "close"],
)
def test_modes_hold_a_tenth_of_the_rounds_each_and_lie_a_twentieth_apart(slow, factor, told):
    assert reasons(mixed([1.0] * (100 - slow) + [factor] * slow)) == told


@pytest.mark.parametrize(("width", "told"), [(0.05, ("two modes",)), (0.1, ())], ids=["narrow", "broad"])
def test_modes_are_narrow_beside_their_distance(width, told):
    """Two uniform humps 0.14 apart: a cut between them explains more than four fifths of the variance of the narrow ones alone."""
    hump = np.linspace(-width, width, 50)
    humps = np.concatenate([hump, hump + 0.14])

    assert between(humps) == pytest.approx(0.8, abs=0.2)
    assert (between(humps) >= 0.8) is bool(told)
    assert reasons(mixed(np.exp(humps))) == told


def between(logs):
    """The largest share of the variance of *logs* that a cut of them explains, by trying each."""
    ranked = np.sort(logs)
    cuts = [(ranked[:n], ranked[n:]) for n in range(1, len(ranked))]
    means = [np.concatenate([np.full(len(part), part.mean()) for part in parts]) for parts in cuts]
    return max(float(each.var()) for each in means) / float(ranked.var())


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"others": 0.5}, ("others took 0.5 cores",)),
        ({"others": 0.49}, ()),
        ({"steal": 0.02}, ("steal 2 %",)),
        ({"steal": 0.9}, ("steal 90 %",)),
        ({"steal": 0.019}, ()),
        ({"throttled": 2}, ("throttled 2 times",)),
        ({"others": 0.0, "steal": 0.0, "throttled": 0}, ()),
    ],
    ids=["half_a_core", "less", "steal", "much_steal", "little_steal", "twice", "nothing"],
)
def test_what_the_machine_did_counts_from_its_bound_on(seen, told):
    assert reasons([1.0] * 64, **seen) == told


def test_a_slope_is_no_steady_state():
    assert steady(np.linspace(1, 3, 100).tolist()) is None
    assert math.isclose(len(shifts(np.linspace(1, 3, 100).tolist())), 11, abs_tol=3)


@pytest.mark.parametrize(
    ("rounds_s", "told"),
    [
        ([0.4] * 40 + [1.0] * 20 + [1.6] * 40, "outliers 80 %"),
        ([1.0] * 32 + [1.6] * 32, "outliers 50 %"),
        ([0.505] * 50 + [1.0] + [1.495] * 50, "spread 49 %"),
    ],
    ids=["both_sides", "from_the_lower_middle", "spread"],
)
def test_shares_are_told_in_percent(rounds_s, told):
    assert told in reasons(mixed(rounds_s))


def test_a_fallback_to_a_quarter_of_the_speed_is_a_drift_of_300_percent():
    assert reasons([1.0] * 40 + [4.0] * 40)[-1] == "drift +300 % over the run"


@pytest.mark.parametrize(("rounds", "told"), [(1, "only 1 round"), (2, "only 2 rounds"), (63, "only 63 rounds")])
def test_too_few_rounds_are_counted(rounds, told):
    assert reasons([0.1] * rounds) == (told,)


def test_change_points_are_counted_from_the_beginning_in_each_part():
    draw = np.random.default_rng(1).normal(0, 0.002, 160)
    stairs = np.repeat([1.0, 1.1, 9.0, 9.9], 40) * np.exp(draw)

    assert steadiness._split(np.repeat([1.0, 2.0], 20)) == [20]
    assert steadiness._split(stairs) == [40, 80, 120]


@pytest.mark.parametrize(("each", "edges"), [(5, ()), (6, (6,))])
def test_a_dozen_values_are_enough_for_two_levels(each, edges):
    assert shifts([1.0] * each + [2.0] * each) == edges


def test_two_values_make_a_block_and_one_is_itself():
    series = np.array([1.0, 2.0, 5.0, 9.0, 7.0])

    assert steadiness._medians(series, 2).tolist() == [1.5, 7.0]
    assert steadiness._medians(series, 1).tolist() == series.tolist()
