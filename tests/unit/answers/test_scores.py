"""What a picture shows, of given labels."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clip_bench.answers import scores
from clip_bench.answers.encoders import Encoders
from clip_bench.answers.scores import Answer
from clip_bench.errors import UsageError
from clip_bench.models import catalog
from clip_bench.quality.predictions import probabilities


def test_the_lines_are_those_of_the_published_example():
    found = Answer(
        cosines=(0.21, 0.27, 0.2),
        path=Path("CLIP.png"),
        labels=("a dog", "a diagram", "a cat"),
        scores=(0.00232988, 0.9967404, 0.000929735),
    )

    assert list(found.lines(5)) == [
        "Top5:",
        "0th, string: a diagram, score: 0.99674",
        "1th, string: a dog, score: 0.00232988",
        "2th, string: a cat, score: 0.000929735",
    ]
    assert list(found.lines(1)) == ["Top1:", "0th, string: a diagram, score: 0.99674"]


def test_equal_scores_keep_the_order_of_their_labels_whatever_the_rounding():
    found = Answer(
        cosines=(0.2,) * 3,
        path=Path("x"),
        labels=("a", "b", "c"),
        scores=(0.3333333333333331, 0.3333333333333332, 0.3333333333333337),
    )

    assert [label for label, _ in found.best(3)] == ["a", "b", "c"]


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9), st.floats(0.1, 1e4))
def test_scores_sum_to_one_and_keep_the_order_of_their_cosines(cosines, scale):
    shares = probabilities(np.array(cosines), scale)

    assert shares.sum() == pytest.approx(1)
    assert (np.diff(shares[np.argsort(cosines)]) >= 0).all()


def test_the_softmax_is_that_of_scaled_cosines():
    logits = np.array([0.27, 0.21, 0.20])

    shares = probabilities(logits, 100.0)

    assert shares == pytest.approx(np.exp(100 * logits) / np.exp(100 * logits).sum())


def test_no_number_gives_no_score():
    assert np.isnan(probabilities(np.array([0.1, np.nan]), 100.0)).all()


class Broken:
    """A tower of which a value of each embedding is the same, whatever it is shown."""

    case = SimpleNamespace(model=catalog.MODELS["shapes_tiny"])

    def __init__(self, value):
        self.value = value

    def __call__(self, rows):
        return [np.full(4, self.value, np.float32) for _ in rows]


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf], ids=["zero", "no number", "infinite"])
def test_an_embedding_without_a_direction_is_told_and_gives_no_score(tmp_path, value):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    broken = Encoders(image=Broken(value), text=Broken(value), scale=100.0)

    with (
        np.errstate(invalid="ignore"),
        pytest.raises(UsageError, match=r"a\.png: no score: an embedding is zero or not"),
    ):
        scores.score(tmp_path / "a.png", ["a", "b"], broken, np.eye(2, 4))
