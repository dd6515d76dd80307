"""Rounds are finite, positive seconds, and what is none is named by its place."""

import math

import numpy as np
import pytest

from clip_bench.errors import UsageError
from clip_bench.timing import rounds


def test_rounds_are_kept_in_their_order():
    assert rounds.checked((0.3, 0.1, 2)).tolist() == [0.3, 0.1, 2.0]
    assert rounds.checked([5e-324, 1.7e308]).tolist() == [5e-324, 1.7e308]
    assert rounds.checked([1, 2]).dtype == np.float64


@pytest.mark.parametrize("none", [(), [], np.zeros((2, 2)), 1.0], ids=["empty", "no_list", "square", "single"])
def test_what_is_no_series_is_refused_in_words(none):
    with pytest.raises(UsageError) as refused:
        rounds.checked(none)

    assert str(refused.value) == "there are no rounds to judge: give at least one time, in seconds"


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_the_first_round_that_is_no_time_is_named(bad):
    with pytest.raises(UsageError) as refused:
        rounds.checked([0.1, 0.2, bad, -7.0])

    assert str(refused.value) == (f"round 2 took {bad} s: measure again, a time is a finite number of seconds above 0")
