"""Labels as people give them."""

import numpy as np
import pytest

from clip_bench.answers import labels
from clip_bench.errors import UsageError


@pytest.mark.parametrize(
    "given",
    ["a diagram,a dog,a cat", "[a diagram,a dog,a cat]", " a diagram, a dog ,a cat,"],
    ids=["plain", "brackets", "spaces"],
)
def test_labels_stand_between_commas(given):
    assert labels.parse(given) == ("a diagram", "a dog", "a cat")


def test_a_file_has_a_label_in_each_line_commas_and_all(tmp_path):
    (tmp_path / "labels").write_text("\ufeffAfghan hound, Afghan\n\n a cat \r\n", encoding="utf-8")

    assert labels.parse(str(tmp_path / "labels")) == ("Afghan hound, Afghan", "a cat")


def test_many_labels_and_slashes_are_no_file():
    many = [f"a cat w/o hat {i}" for i in range(1000)]

    assert labels.parse(",".join(many)) == tuple(many)


@pytest.mark.parametrize("given", ["", ",", "[]", "gone.txt", "folder/gone"])
def test_no_label_is_one_clear_line(given):
    with pytest.raises(UsageError, match="give a file with a label per line, or labels between commas"):
        labels.parse(given)


def test_a_file_of_no_words_says_so(tmp_path):
    (tmp_path / "labels").write_bytes(b"\xff\xfe\xff")

    with pytest.raises(UsageError, match="no text in UTF-8"):
        labels.parse(str(tmp_path / "labels"))


def test_labels_that_a_model_cannot_tell_apart_are_named():
    rows = np.array([[0.6, 0.8], [0.8, 0.6], [0.6 + 1e-9, 0.8]])

    assert labels.alike(["a", "b", "c"], rows) == "read alike, so scored alike: a, c"
    assert labels.alike(["a", "b"], rows[:2]) == ""


def test_each_kind_of_prompt_says_a_class_its_own_way():
    made = {kind: labels.texts(["cat"], ["a photo of a {}.", "art of the {}."], kind) for kind in labels.PROMPTS}

    assert made == {
        "single": [["a photo of a cat."]],
        "ensemble": [["a photo of a cat.", "art of the cat."]],
        "name": [["cat"]],
    }
