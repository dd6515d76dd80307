"""An honest cell is stable, a disturbed one is not, and the reason says what disturbed it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.record import Conditions
from clip_bench.timing.stability import verdict

RUNS = 1000
ROUNDS = st.lists(st.floats(min_value=1e-7, max_value=1e4), min_size=1, max_size=100)
EVEN = [1.0, 1.01] * 50


def judged(made):
    """The share of stable runs, and the first words of all reasons of each run."""
    told = [verdict(run) for run in made]
    return float(np.mean([one.stable for one in told])), [
        {reason.split(" ")[0] for reason in one.reasons} for one in told
    ]


def share(reasons, word):
    return float(np.mean([word in one for one in reasons]))


@pytest.mark.simulation
@pytest.mark.parametrize("shape", ["normal", "lognormal"])
@pytest.mark.parametrize("calls", [64, 256])
def test_honest_noise_of_3_percent_is_stable(virtual, shape, calls):
    """Measured: 99.9 % of runs; a verdict that flags 2 % of them by chance fails."""
    stable, _ = judged(virtual.Device(shape=shape).times(1, RUNS, calls))

    assert stable >= 0.99


@pytest.mark.simulation
@pytest.mark.parametrize("factor", [1.4, 3.0, 10.0, 100.0])
def test_one_outlier_of_a_shared_machine_condemns_nothing(virtual, factor):
    """By pyperf's standard deviation and its maximum 50 % off, every one of them is unstable from a factor of 3 on."""
    made = virtual.Device().times(2, RUNS, 64)
    made[np.arange(RUNS), np.random.default_rng(2).integers(0, 64, RUNS)] *= factor

    stable, _ = judged(made)

    assert stable >= 0.99


@pytest.mark.simulation
@pytest.mark.parametrize(("outliers", "told"), [(3, 0), (4, 1)], ids=["some", "many"])
def test_more_outliers_than_one_in_twenty_are_a_reason(virtual, outliers, told):
    made = virtual.Device().times(3, RUNS, 64)
    made[:, np.arange(outliers) * 11 + 20] *= 5

    _, reasons = judged(made)

    assert abs(share(reasons, "outliers") - told) <= 0.01


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("course", "word"),
    [
        ({"spread": 0.15}, "spread"),
        ({"drift": 0.2}, "drift"),
        ({"drift": -0.2}, "drift"),
        ({"throttles": (20, 10, 1.3)}, "drift"),
        ({"falls_back": (32, 1.1)}, "drift"),
        ({"falls_back": (32, 4.0)}, "drift"),
        ({"compiles": (3.0,) * 12}, "drift"),
        ({"slow_share": 0.5, "slow_factor": 1.2}, "two"),
        ({"slow_share": 0.3, "slow_factor": 2.0}, "two"),
    ],
    ids=["noise", "slower", "faster", "throttling", "small_fallback", "fallback", "compiling", "halves", "modes"],
)
def test_a_disturbed_device_is_told_by_its_reason(virtual, course, word):
    """Measured: no run of them is stable, and 99 to 100 % name that reason."""
    stable, reasons = judged(virtual.Device(**course).times(4, RUNS, 64))

    assert stable <= 0.01
    assert share(reasons, word) >= 0.97


@pytest.mark.simulation
def test_a_drift_that_the_noise_hides_is_no_reason(virtual):
    """3 % over the run: a level of half of that is no figure of ours."""
    stable, _ = judged(virtual.Device(drift=0.03).times(5, RUNS, 64))

    assert stable >= 0.98


@pytest.mark.simulation
def test_one_broad_mode_is_not_two():
    made = np.random.default_rng(6).uniform(1, 1.25, (RUNS, 200))

    _, reasons = judged(made)

    assert share(reasons, "two") <= 0.02


def test_rounds_too_few_for_a_proven_percentile_are_a_reason():
    assert verdict([0.1] * 63).reasons == ("only 63 rounds",)
    assert verdict([0.1]).reasons == ("only 1 round",)
    assert verdict([0.1] * 64).stable


@pytest.mark.parametrize(
    ("rounds_s", "reason"),
    [
        ([1.0] * 40 + [1.12] * 40, "drift +12 % over the run"),
        ([1.0] * 40 + [0.8] * 40 + [1.0] * 40, "drift -20 % over the run"),
        ([1.0, 1.3] * 40, "spread 13 %"),
        (([1.0] * 9 + [2.0]) * 8, "outliers 10 %"),
        ([1.0, 1.2, 1.2, 1.0, 1.0] * 20, "two modes"),
    ],
    ids=["step", "excursion", "spread", "outliers", "modes"],
)
def test_a_reason_can_stand_beside_a_figure(rounds_s, reason):
    told = verdict(rounds_s)

    assert reason in told.reasons
    assert not told.stable


@pytest.mark.parametrize(
    ("seen", "reasons"),
    [
        ({}, ()),
        ({"others": 0.4, "steal": 0.01, "throttled": 0, "load_1m": 9.0, "switches": 999, "mhz": (800.0, 4800.0)}, ()),
        ({"others": 0.8}, ("others took 0.8 cores",)),
        ({"steal": 0.07}, ("steal 7 %",)),
        ({"throttled": 1}, ("throttled once",)),
        ({"throttled": 3, "others": 2.0}, ("others took 2.0 cores", "throttled 3 times")),
    ],
    ids=["untold", "quiet", "others", "steal", "once", "both"],
)
def test_what_else_the_machine_did_is_a_reason(seen, reasons):
    told = verdict(EVEN, Conditions(window_s=1.0, **seen))

    assert told.reasons == reasons
    assert told.stable == (not reasons)


@settings(deadline=None)
@given(ROUNDS, st.sampled_from([2.0**-10, 2.0, 2.0**20]))
def test_a_verdict_has_reasons_or_is_stable_whatever_the_unit(rounds_s, unit):
    told = verdict(rounds_s)

    assert told.stable == (not told.reasons)
    assert all(len(reason) < 40 for reason in told.reasons)
    assert verdict([unit * second for second in rounds_s]) == told


def test_times_that_are_none_are_refused():
    with pytest.raises(UsageError, match="round 0 took inf"):
        verdict([math.inf])
