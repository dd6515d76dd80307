"""A proven percentile is LoadGen's: by its own loop, and by the binomial that the loop computes."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from clip_bench.errors import UsageError
from clip_bench.timing.percentiles import CONFIDENCE, bound, discarded, needed, parse

PERCENTILES = st.floats(min_value=0.1, max_value=99.9)
CONFIDENCES = st.floats(min_value=0.5, max_value=0.999)
ROUNDS = st.lists(st.floats(min_value=1e-7, max_value=1e4), min_size=1, max_size=300)


def lgamma_of_beta(x, y):
    return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)


def odds(h, t, p):
    """loadgen/early_stopping.cc: odds, beta_regularized and hypergeometric_2F1_A1, one into the other, d = 0."""
    a, b = h, 1 + t
    x, term, total, i = p / (p - 1), 1.0, 1.0, 0
    while abs(term) > 1 / (1 << 33):
        term *= (1 - b + i) * x / (1 + a + i)
        total += term
        i += 1
    return math.exp(a * math.log(p) + (b - 1) * math.log(1 - p) - lgamma_of_beta(a, b)) / a * total


def passing(t, p, c):
    """The least h with odds below 1 - c, counted up from the slope that LoadGen's own bracket starts from."""
    h = max(1, int(t * p / (1 - p)))
    while not odds(h, t, p) < 1 - c:
        h += 1
    return h


def loadgen(rounds_s, p, c=CONFIDENCE):
    """loadgen/results.cc, EarlyStopping of a single stream: the estimate, or None for its recommendation to go on."""
    ranked, issued, t = sorted(rounds_s), len(rounds_s), 1
    if issued < passing(1, p, c) + 1:
        return None
    for i in range(2, issued + 1):
        if issued < passing(i, p, c) + i:
            t = i - 1
            break
    return ranked[issued - t]


@pytest.mark.parametrize(("percentile", "least"), [(90, 64), (95, 130), (97, 219), (99, 662), (99.9, 6636)], ids=str)
def test_the_least_number_of_calls_is_the_one_that_mlperf_publishes(percentile, least):
    """inference_policies, "early stopping": 64 for P90, 219 for P97, 662 for P99."""
    assert needed(percentile) == least == passing(1, percentile / 100, CONFIDENCE) + 1


@settings(deadline=None)
@given(PERCENTILES, CONFIDENCES)
def test_one_call_less_than_needed_proves_nothing(percentile, confidence):
    least = needed(percentile, confidence)

    over = 1 - percentile / 100
    assert binom.cdf(1, least, over) <= (1 - confidence) * (1 + 1e-9)
    assert least == 2 or binom.cdf(1, least - 1, over) >= (1 - confidence) * (1 - 1e-9)


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=10**6), PERCENTILES, CONFIDENCES)
def test_the_calls_that_may_be_over_it_are_the_most_that_the_binomial_allows(samples, percentile, confidence):
    t = discarded(samples, percentile, confidence)

    over = 1 - percentile / 100
    assert t < 0 or binom.cdf(t, samples, over) <= (1 - confidence) * (1 + 1e-9)
    assert binom.cdf(t + 1, samples, over) >= (1 - confidence) * (1 - 1e-9)
    assert (t >= 1) == (samples >= needed(percentile, confidence))


@settings(deadline=None, max_examples=50)
@given(ROUNDS, st.sampled_from([50, 75, 90, 95, 97]))
def test_the_bound_is_what_the_loop_of_loadgen_finds(rounds_s, percentile):
    assert bound(rounds_s, percentile).value_s == loadgen(rounds_s, percentile / 100)


@pytest.mark.parametrize("samples", [63, 64, 129, 662, 2000])
def test_the_bound_of_a_longer_run_is_what_the_loop_of_loadgen_finds(samples):
    rounds_s = np.random.default_rng(samples).lognormal(size=samples)

    assert [bound(rounds_s, p).value_s for p in (90, 99)] == [loadgen(rounds_s, p / 100) for p in (90, 99)]


@settings(deadline=None)
@given(ROUNDS, PERCENTILES, st.randoms(use_true_random=False))
def test_a_bound_is_one_of_the_rounds_whatever_their_order(rounds_s, percentile, random):
    told = bound(rounds_s, percentile)

    assert told == bound(random.sample(rounds_s, len(rounds_s)), percentile)
    assert told.samples == len(rounds_s)
    assert (told.value_s is None) == (told.samples < told.needed)
    assert told.value_s is None or told.value_s in rounds_s


@settings(deadline=None)
@given(st.lists(st.floats(min_value=1e-7, max_value=1e4), min_size=64, max_size=300))
def test_a_bound_is_no_less_than_the_linear_percentile(rounds_s):
    assert bound(rounds_s, 90).value_s >= np.percentile(rounds_s, 90, method="lower")


@pytest.mark.simulation
def test_a_million_rounds_are_bounded_at_once():
    rounds_s = np.random.default_rng(0).lognormal(size=10**6)
    bound(rounds_s, 90)  # imports scipy

    began = time.perf_counter()
    told = bound(rounds_s, 99.9)

    assert time.perf_counter() - began < 1
    assert told.value_s > np.percentile(rounds_s, 99.9)


@pytest.mark.parametrize("percentile", [0, 100, -1, 101, math.nan], ids=["none", "all", "below", "above", "nan"])
def test_a_percentile_that_is_none_is_refused(percentile):
    with pytest.raises(UsageError, match="give one between 0 and 100"):
        bound([0.1], percentile)


@pytest.mark.parametrize(
    ("rounds_s", "message"),
    [((), "give at least one"), ((0.1, 0.0), "round 1 took 0.0 s"), ((-1,), "measure again"), ((math.nan,), "round 0")],
    ids=["empty", "zero", "negative", "nan"],
)
def test_rounds_that_are_no_times_are_refused(rounds_s, message):
    with pytest.raises(UsageError, match=message):
        bound(rounds_s, 90)


@pytest.mark.simulation
@pytest.mark.parametrize(
    "noise",
    [{"spread": 0.03}, {"spread": 0.5, "shape": "lognormal"}, {"slow_share": 0.15, "slow_factor": 1.5}],
    ids=["normal", "heavy", "modes"],
)
@pytest.mark.parametrize(("percentile", "calls"), [(90, 64), (90, 500), (99, 1000)], ids=["p90", "p90_long", "p99"])
def test_the_true_percentile_is_under_the_bound_in_99_runs_of_100(virtual, noise, percentile, calls):
    """The linear percentile, which is published as P90 everywhere, is under the true one in about half of the runs."""
    device, runs = virtual.Device(**noise), 1000
    made, true_s = device.times(calls, runs, calls), device.percentile_s(percentile)

    held = np.mean([bound(run, percentile).value_s >= true_s for run in made])
    linear = np.mean(np.percentile(made, percentile, axis=1) >= true_s)

    assert held >= CONFIDENCE - 2 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / runs)
    assert linear <= 0.75


@pytest.mark.simulation
def test_two_ranks_lower_is_too_low(virtual):
    """The bound is as tight as it claims: LoadGen's margin is one rank, and with two more the proof is gone."""
    device, runs, calls = virtual.Device(), 4000, 500
    ranked, true_s = np.sort(device.times(1, runs, calls), axis=1), device.percentile_s(90)

    t = discarded(calls, 90)

    assert np.mean(ranked[:, calls - t] >= true_s) >= CONFIDENCE
    assert np.mean(ranked[:, calls - t - 3] >= true_s) < CONFIDENCE


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("90", (90.0,)),
        ("[50, 90,99.9]", (50.0, 90.0, 99.9)),
        (" 90,50,90 ", (90.0, 50.0)),
        ("0.001,99.999", (0.001, 99.999)),
    ],
    ids=["one", "bracketed", "twice", "extreme"],
)
def test_percentiles_are_read_in_their_order_each_once(words, numbers):
    assert parse(words) == numbers


@pytest.mark.parametrize("words", ["", "fifty", "X50", "50,", "0", "100", "50,100", "nan", "-1"])
def test_what_is_no_percentile_is_refused_in_words(words):
    with pytest.raises(UsageError) as refused:
        parse(words)

    assert str(refused.value) == f"--percentiles {words}: numbers between 0 and 100, such as 50,90,95,99"


@pytest.mark.parametrize(("percentile", "confidence"), [(100, 0.99), (0, 0.99), (90, 0), (90, 1)])
def test_a_confidence_that_is_none_is_refused_in_words(percentile, confidence):
    for asked in (needed, lambda *about: discarded(100, *about), lambda *about: bound([0.1], *about)):
        with pytest.raises(UsageError) as refused:
            asked(percentile, confidence)
        assert str(refused.value) == (
            f"no percentile {percentile} at a confidence of {confidence}: "
            "give one between 0 and 100, at one between 0 and 1"
        )


def test_a_bound_tells_what_it_was_asked_and_takes_another_confidence():
    rounds_s = [float(n) for n in range(1, 101)]

    sure, likely = bound(rounds_s, 90), bound(rounds_s, 90, 0.5)

    assert (sure.percentile, sure.samples, sure.needed) == (90, 100, 64)
    assert (likely.needed, likely.value_s) == (needed(90, 0.5), 100.0 + 1 - discarded(100, 90, 0.5))
    assert likely.needed < sure.needed
    assert likely.value_s < sure.value_s


@pytest.mark.parametrize(("calls", "proven"), [(63, False), (64, True)])
def test_the_least_number_of_calls_proves_a_bound_and_one_less_none(calls, proven):
    told = bound([0.1] * calls, 90)

    assert (told.value_s is not None) is proven
    assert (told.percentile, told.samples, told.needed) == (90, calls, 64)
