"""Token inputs are saved by their text, and read back for the same model alone."""

from dataclasses import replace

import numpy as np
import pytest

from clip_bench.answers import tokens
from clip_bench.errors import UsageError
from clip_bench.models import catalog

SPEC = catalog.MODELS["shapes_tiny"]
LABELS = ("Afghan hound, Afghan", "a/b", "a_b", "Crane", "crane", "..", "\u732b", "x" * 300)


def encode(texts):
    """Every text another row."""
    return np.array([[1, *divmod(hash(text) % 10**6, 1000), *[0] * (SPEC.context - 3)] for text in texts], np.int64)


@pytest.fixture
def saved(tmp_path):
    list(tokens.save(SPEC, LABELS, encode, tmp_path))
    return tmp_path


def test_what_was_saved_is_read(saved):
    assert tokens.reader(SPEC, saved)(LABELS).tolist() == encode(LABELS).tolist()


def test_a_file_is_called_after_its_label_where_that_can_be(saved):
    names = {path.name for path in saved.iterdir()}

    assert len({name.casefold() for name in names}) == len(LABELS)
    assert "Afghan hound, Afghan.npz" in names
    assert "crane.npz" not in names
    assert all(len(name) < 120 and "/" not in name for name in names)


def test_equal_labels_have_one_file(tmp_path):
    assert len(list(tokens.save(SPEC, ["a", "b", "a"], encode, tmp_path))) == 2


def test_a_label_without_a_file_is_named(saved):
    with pytest.raises(
        UsageError, match="nothing for 'a dog' and 1 more; make them: clip-bench tokens --model shapes_tiny"
    ):
        tokens.reader(SPEC, saved)(["Crane", "a dog", "a cat"])


def test_tokens_of_another_model_are_refused(saved):
    with pytest.raises(UsageError, match="for shapes_tiny, not tokens"):
        tokens.reader(replace(SPEC, name="other"), saved)


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"tokens": np.zeros((1, 3), np.int64)}, id="narrow"),
        pytest.param({"tokens": np.zeros((1, SPEC.context), np.float32)}, id="floats"),
        pytest.param({"tokens": np.array([{}], object)}, id="objects"),
    ],
)
def test_a_file_of_another_form_is_named(saved, stored):
    whole = {"text": np.array("a"), "model": np.array(SPEC.name), **stored}
    np.savez(saved / "odd.npz", **(whole if stored else {"x": np.zeros(1)}))

    with pytest.raises(UsageError, match=r"odd\.npz: "):
        tokens.reader(SPEC, saved)


OPEN = b"{'descr': '<i8', 'fortran_order'"  # numpy takes Python's own tokenizer to it, which raises an error of its own
HEAD = b"\x93NUMPY\x01\x00" + len(OPEN).to_bytes(2, "little") + OPEN


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"words", HEAD], ids=["empty", "cut", "words", "header"])
def test_a_broken_file_is_named(saved, content):
    (saved / "odd.npz").write_bytes(content)

    with pytest.raises(UsageError, match=r"odd\.npz: no npz"):
        tokens.reader(SPEC, saved)


def test_a_file_that_is_packed_in_an_unknown_way_is_named(saved):
    """The fuzzer found that zipfile raises NotImplementedError."""
    whole = (saved / "odd.npz", next(saved.glob("*.npz")).read_bytes())
    entry, listed = whole[1].index(b"PK\x03\x04"), whole[1].index(b"PK\x01\x02")
    broken = bytearray(whole[1])
    broken[entry + 8] = broken[listed + 10] = 77
    whole[0].write_bytes(bytes(broken))

    with pytest.raises(UsageError, match=r"odd\.npz: no npz"):
        tokens.reader(SPEC, saved)


def test_a_file_that_unpacks_to_more_than_tokens_take_is_refused(saved):
    np.savez_compressed(saved / "vast.npz", tokens=np.zeros((1, tokens.LARGEST), np.int64), text="a", model=SPEC.name)
    assert (saved / "vast.npz").stat().st_size < tokens.LARGEST

    with pytest.raises(UsageError, match=r"vast\.npz: no npz"):
        tokens.reader(SPEC, saved)


def test_an_empty_folder_says_how_to_fill_it(tmp_path):
    with pytest.raises(UsageError, match=r"no npz in it; make them: clip-bench tokens"):
        tokens.reader(SPEC, tmp_path)
