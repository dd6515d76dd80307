"""An answer is found by what was asked."""

import numpy as np
import pytest

from clip_bench.graphs import replay


def asked(pixels):
    return replay.fingerprint({"image": pixels})


def test_equal_calls_have_one_fingerprint_wherever_their_arrays_lie():
    pixels = np.random.default_rng(1).random((2, 3, 64, 64), np.float32)

    assert asked(pixels[1:]) == asked(pixels[1:].copy()) == asked(np.asfortranarray(pixels[1:]))


@pytest.mark.parametrize("size", [64, 224, 225], ids=["tiny", "usual", "odd"])
def test_calls_that_differ_in_one_number_have_two_fingerprints(size):
    one = np.zeros((1, 3, size, size), np.float32)
    two = one.copy()
    two[0, 1, size // 2, size // 3] = 0.5

    assert asked(one) != asked(two)


def test_the_same_arrays_under_each_others_names_are_another_call():
    one, two = np.zeros((1, 24), np.int64), np.ones((1, 24), np.int64)

    assert replay.fingerprint({"a": one, "b": two}) != replay.fingerprint({"a": two, "b": one})
