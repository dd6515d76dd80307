"""What a cell is fed is held against what the reference was, and against what it should be."""

import numpy as np
import pytest

from clip_bench.quality import fed

START, END = fed.START, fed.END
RIGHT = np.array([[START, 5, 6, END, 0, 0], [START, 7, END, 0, 0, 0]])


def only(found):
    (failure,) = found
    assert failure.gate == "feeds"
    return str(failure)


def test_ids_as_the_tokenizer_builds_them_pass():
    assert fed.tokenized(RIGHT) == ()


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ([5, 6, END, 0, 0, 0], "do not begin with the start"),
        ([START, 5, 6, 0, 0, 0], "hold no end, or several"),
        ([START, 5, END, END, END, END], "hold no end, or several"),
        ([START, 5, END, 0, 0, 3], "go on after their end"),
        ([START, END + 1, END, 0, 0, 0], "hold ids out of range"),
        ([START, -1, END, 0, 0, 0], "hold ids out of range"),
    ],
)
def test_ids_that_are_built_otherwise_are_counted(row, what):
    assert only(fed.tokenized(np.array([*RIGHT.tolist(), row]))) == f"tokens: 1 of 3 texts {what}"


def test_the_same_samples_pass_but_for_rounding():
    rows = np.random.default_rng(1).standard_normal((4, 3, 5, 5)).astype(np.float32)

    assert fed.given("picture", rows, rows) == ()
    assert fed.given("picture", rows + np.float32(1e-6), rows) == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows[:-1], "picture: (3, 3, 5, 5) is fed where the reference was fed (4, 3, 5, 5)"),
        (lambda rows: rows[::-1], "picture: 4 of 4 samples are not what the reference was fed"),
        (
            lambda rows: np.concatenate([rows[:1] * np.nan, rows[1:]]),
            "picture: 1 of 4 samples are not what the reference was fed",
        ),
    ],
    ids=["fewer", "turned", "none"],
)
def test_other_samples_are_counted(change, told):
    rows = np.random.default_rng(2).standard_normal((4, 3, 5, 5)).astype(np.float32)

    assert only(fed.given("picture", change(rows), rows)) == told


def test_a_transform_may_round_a_pixel_otherwise_and_no_more():
    made = np.random.default_rng(3).standard_normal((4, 3, 64, 64)).astype(np.float32)
    rounded = made.copy()
    rounded[0, 0, :2, :20] += np.float32(1.9 * fed.STEP)

    assert fed.transformed("picture", rounded, made) == ()
    assert "another resize" in only(fed.transformed("picture", made + np.float32(1.01 * fed.STEP), made))
    assert "makes (3, 64, 64)" in only(fed.transformed("picture", made[0], made))


def test_a_few_pixels_that_are_far_off_are_another_transform():
    made = np.random.default_rng(4).standard_normal((4, 3, 64, 64)).astype(np.float32)
    edge = made.copy()
    edge[..., 0] += 1

    assert "another resize" in only(fed.transformed("picture", edge, made))
    edge[0, 0, 0, 0] = np.nan
    assert "another resize" in only(fed.transformed("picture", edge, made))
