"""What is claimed of a summary: it is ordered, scales with the unit and cross-checks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.timing.statistics import summary

SECONDS = st.floats(min_value=1e-7, max_value=1e4)
ROUNDS = st.lists(SECONDS, min_size=1, max_size=50)
BATCH = st.integers(min_value=1, max_value=512)


@settings(deadline=None)
@given(ROUNDS, BATCH)
def test_figures_are_ordered(rounds_s, batch):
    told = summary(rounds_s, batch)

    slack = 1 + 1e-12
    assert told.min_s <= told.mean_s <= told.max_s
    assert told.min_s <= told.p50_s * slack <= told.p90_s * slack**2 <= told.max_s * slack**3
    assert told.throughput_min <= told.throughput_avg <= told.throughput_max
    assert told.rounds == len(rounds_s)


@settings(deadline=None)
@given(ROUNDS, BATCH)
def test_latency_times_throughput_is_the_batch(rounds_s, batch):
    """Seed 000's columns come from two runs and do not cross-check; these do."""
    told = summary(rounds_s, batch)

    assert told.mean_s * told.throughput_avg == pytest.approx(batch)
    assert told.min_s * told.throughput_max == pytest.approx(batch)
    assert told.max_s * told.throughput_min == pytest.approx(batch)


@settings(deadline=None)
@given(ROUNDS, BATCH, st.randoms(use_true_random=False))
def test_order_of_rounds_is_irrelevant(rounds_s, batch, random):
    shuffled = random.sample(rounds_s, len(rounds_s))

    assert summary(shuffled, batch) == summary(rounds_s, batch)


@settings(deadline=None)
@given(st.lists(SECONDS, min_size=1, max_size=50))
def test_percentiles_are_linear(rounds_s):
    """The definition, written out: between the two neighbours of rank q (n - 1)."""
    ranked, rank = sorted(rounds_s), 0.9 * (len(rounds_s) - 1)
    below, above = ranked[math.floor(rank)], ranked[math.ceil(rank)]

    told = summary(rounds_s, 1)

    assert told.p90_s == pytest.approx(below + (above - below) * (rank - math.floor(rank)))
    assert told.p50_s == pytest.approx(float(np.median(rounds_s)))


@pytest.mark.parametrize(
    ("rounds_s", "batch"),
    [((), 1), ((0.1,), 0), ((0.0, 0.1), 1), ((-0.1,), 1), ((math.nan,), 1), ((math.inf,), 1)],
    ids=["no-rounds", "no-batch", "zero", "negative", "nan", "infinite"],
)
def test_a_useless_timing_is_refused(rounds_s, batch):
    with pytest.raises(UsageError, match="measure the cell again"):
        summary(rounds_s, batch)


def test_figures_of_known_rounds():
    told = summary([0.4, 0.1, 0.2, 0.3, 0.5], 6)

    assert (told.rounds, told.min_s, told.max_s) == (5, 0.1, 0.5)
    assert (told.mean_s, told.p50_s, told.p90_s) == pytest.approx((0.3, 0.3, 0.46))
    assert (told.throughput_avg, told.throughput_max, told.throughput_min) == pytest.approx((20, 60, 12))


def test_equal_rounds_have_a_mean_within_their_range():
    third = 0.1 + 0.2
    told = summary([third] * 3, 1)

    assert told.min_s == told.mean_s == told.max_s == third


@pytest.mark.parametrize(
    ("rounds_s", "batch", "told"),
    [
        ((), 1, "0 rounds, the shortest nan s, and a batch of 1"),
        ((0.2, -0.1), 1, "2 rounds, the shortest -0.1 s, and a batch of 1"),
        ((0.2,), 0, "1 rounds, the shortest 0.2 s, and a batch of 0"),
    ],
    ids=["empty", "negative", "no-batch"],
)
def test_a_useless_timing_is_told_in_words(rounds_s, batch, told):
    with pytest.raises(UsageError) as refused:
        summary(rounds_s, batch)

    assert str(refused.value) == (
        f"a timing needs a batch of at least 1 and positive, finite rounds; this one has {told}: measure the cell again"
    )
