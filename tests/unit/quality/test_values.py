"""Values per sample are read back to the numbers that were told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.errors import UsageError
from clip_bench.quality import values


@given(st.lists(st.integers(-(2**60), 2**60)))
def test_whole_numbers_are_told_to_the_last_digit(numbers):
    assert values.told(np.array(numbers, np.int64)).split() == [str(number) for number in numbers]


@given(st.lists(st.floats(-1e30, 1e30)))
def test_others_are_told_to_four_digits(numbers):
    assert values.read(values.told(np.array(numbers, np.float64))) == pytest.approx(numbers, rel=5e-4)


def test_a_number_is_no_longer_than_it_must_be():
    assert values.told(np.array([1 / 3, 1e-14, 0.0, 1.0])) == "0.3333 1e-14 0 1"
    assert values.told(np.array([True, False])) == "1 0"
    assert values.told(np.array([np.nan, -np.inf], np.float32)) == "nan -inf"


def test_the_mean_of_nothing_is_nought_and_that_of_the_infinite_raises_no_warning():
    assert values.mean("") == 0.0
    assert values.mean("1 2 6") == 3.0
    assert np.isnan(values.mean("inf -inf"))
    assert values.mean("1.7e308 1.7e308") == np.inf


def test_what_is_no_number_is_refused_in_words():
    with pytest.raises(UsageError) as refused:
        values.read("1 two")

    assert str(refused.value) == (
        "the values per sample are no numbers (could not convert string to float: 'two'); take the file as it was written"
    )
