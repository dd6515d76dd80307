"""What another way of preprocessing changed is told from the values of each picture, and a share of one tells nothing."""

import pytest

from clip_bench.errors import UsageError
from clip_bench.quality import pictures

TOLD = {
    "identified": "1 1 0 1",
    "processed_diff": "0.1 0.2 0.3 0.4",
    "encode_diff": "0.01 0.03 0.05 0.07",
    "drift": "0 0.002 0.004 0.002",
    "places": "0 1 0 0 -1",
}


def test_the_figures_are_means_over_pictures_and_the_share_of_captions_found_first():
    assert pictures.summed(TOLD) == {
        "processed_diff": pytest.approx(0.25),
        "encode_diff": pytest.approx(0.04),
        "cosine": pytest.approx(0.998),
        "same": 0.75,
        "recall": pytest.approx(0.6),
    }


def test_without_captions_there_is_no_recall_and_of_one_picture_no_share():
    one = {name: words.split()[0] for name, words in TOLD.items() if name != "places"}

    found = pictures.summed(one)

    assert (found["same"], found["recall"]) == (None, None)
    assert found["processed_diff"] == 0.1


def test_two_pictures_are_enough_for_a_share():
    two = {name: " ".join(words.split()[1:3]) for name, words in TOLD.items()}

    assert pictures.summed(two)["same"] == 0.5


def test_a_kind_of_values_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="drift"):
        pictures.summed({name: words for name, words in TOLD.items() if name != "drift"})
    with pytest.raises(UsageError, match="no numbers"):
        pictures.summed(TOLD | {"drift": "0.1 x"})
