"""Samples are joined and hashed in one place."""

from functools import partial

import pytest
from PIL import Image

from clip_bench.data import NO_LABEL, Picture, assemble, take

CLASSES = {"classes": ("cat", "dog"), "prompts": ("a cat", "a dog")}


def picture(name, sha256=""):
    return Picture(name=name, sha256=sha256 or name * 8, open=partial(Image.new, "RGB", (2, 2)))


A, B, C = (picture("a"), 0, ("one", "two")), (picture("b"), 1, ()), (picture("c"), NO_LABEL, ("three",))


def test_take_keeps_rows_together_in_the_order_asked_for():
    whole = assemble("few", [A, B, C], **CLASSES, problems=("d.jpg: gone",))

    part = take(whole, [2, 0])

    assert part == assemble("few", [C, A], **CLASSES, problems=("d.jpg: gone",))
    assert [picture.name for picture in part.pictures] == ["c", "a"]
    assert part.labels == (NO_LABEL, 0)
    assert part.captions == (("three",), ("one", "two"))


def test_taking_every_row_changes_nothing():
    whole = assemble("few", [A, B, C], **CLASSES)

    assert take(whole, range(3)) == whole


@pytest.mark.parametrize(
    ("rows", "known"),
    [
        pytest.param([A, C, B], CLASSES, id="sequence"),
        pytest.param([A, B], CLASSES, id="rows"),
        pytest.param([A, B, (picture("c", "other"), NO_LABEL, ("three",))], CLASSES, id="pixels"),
        pytest.param([A, (B[0], 0, ()), C], CLASSES, id="label"),
        pytest.param([(A[0], 0, ("onetwo",)), B, C], CLASSES, id="captions"),
        pytest.param([A, B, C], CLASSES | {"prompts": ("a cat", "the dog")}, id="prompts"),
        pytest.param([A, B, C], CLASSES | {"classes": ("cat", "wolf")}, id="classes"),
    ],
)
def test_whatever_the_model_is_told_changes_the_hash(rows, known):
    assert assemble("few", rows, **known).sha256 != assemble("few", [A, B, C], **CLASSES).sha256


def test_names_and_problems_leave_the_hash_alone():
    moved = assemble("elsewhere", [(picture("x/a", "a" * 8), *A[1:]), B, C], **CLASSES, problems=("z: gone",))

    assert moved.sha256 == assemble("few", [A, B, C], **CLASSES).sha256


@pytest.mark.parametrize("label", [-2, 2])
def test_a_label_without_a_class_is_refused(label):
    with pytest.raises(ValueError, match="few: 2 classes need 2 prompts"):
        assemble("few", [(A[0], label, ())], **CLASSES)


def test_a_class_without_a_prompt_is_refused():
    with pytest.raises(ValueError, match="few: 2 classes need 2 prompts"):
        assemble("few", [A], classes=("cat", "dog"), prompts=("a cat",))
