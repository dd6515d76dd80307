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
