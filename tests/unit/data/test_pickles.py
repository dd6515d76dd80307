"""A pickle from the network can make arrays and builtin containers, and nothing else."""

import copyreg
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_bench.data import pickles
from clip_bench.errors import UsageError

ROWS = np.arange(12, dtype=np.uint8).reshape(3, 4)


class Hostile:
    """What runs a program when it is read by an ordinary unpickler."""

    def __init__(self, call, *given):
        self.call, self.given = call, given

    def __reduce__(self):
        return self.call, self.given


def stored(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_cifar_holds_is_read_whatever_the_protocol(tmp_path, protocol):
    whole = {b"data": ROWS, b"fine_labels": [1, 2, 3], b"filenames": [b"a.png"], "batch": "one"}

    found = pickles.read(stored(tmp_path / "test", whole, protocol))

    assert found["data"].tolist() == ROWS.tolist()
    assert found["data"].dtype == np.uint8
    assert (found["fine_labels"], found["filenames"], found["batch"]) == ([1, 2, 3], [b"a.png"], "one")


@pytest.mark.parametrize("kind", ["<i8", ">i4", "<f4", "?"])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_arrays_of_every_kind_and_layout_keep_their_values(tmp_path, kind, layout):
    rows = np.asarray(ROWS.astype(kind), order=layout)

    found = pickles.read(stored(tmp_path / "test", {"data": rows}, 4))["data"]

    assert found.tolist() == rows.tolist()
    assert found.dtype == rows.dtype


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(lambda mark: Hostile(os.system, f"touch {mark}"), id="shell"),
        pytest.param(lambda mark: Hostile(open, str(mark), "w"), id="file"),
        pytest.param(lambda mark: Hostile(eval, f"open({str(mark)!r}, 'w')"), id="eval"),
        pytest.param(lambda mark: Hostile(getattr, str(mark), "upper"), id="attribute"),
        pytest.param(lambda mark: Hostile(np.save, str(mark), ROWS), id="numpy-function"),
        pytest.param(lambda mark: Hostile(np.load, str(mark)), id="numpy-load"),
        pytest.param(lambda mark: np.array([Hostile(os.system, f"touch {mark}")]), id="array-of-objects"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_pickle_runs_nothing(tmp_path, hostile, protocol):
    mark = tmp_path / "mark"

    with pytest.raises(UsageError, match="no pickle that can be read safely"):
        pickles.read(stored(tmp_path / "test", {"data": hostile(mark)}, protocol))

    assert not mark.exists()


def test_the_registry_of_extensions_is_no_way_in(tmp_path):
    copyreg.add_extension("os", "getcwd", 240)
    try:
        (tmp_path / "test").write_bytes(b"\x80\x02\x82\xf0)R.")  # EXT1 240, then called
        with pytest.raises(UsageError, match=r"it asks for os\.getcwd"):
            pickles.read(tmp_path / "test")
    finally:
        copyreg.remove_extension("os", "getcwd", 240)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80\x02]q\x00.", id="list"),
        pytest.param(b"(" * 100_000, id="deep"),
        pytest.param(b"\x80\x02r" + struct.pack("<I", 2**32 - 1) + b".", id="memo"),
        pytest.param(b"\x80\x04\x8e" + struct.pack("<Q", 2**60), id="long-bytes"),
        pytest.param(b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.", id="objects"),
        pytest.param(pickle.dumps({"data": ROWS}, protocol=2)[:-40], id="cut"),
        pytest.param(
            pickle.dumps({"data": ROWS}, protocol=2).replace(b"X\x01\x00\x00\x00|", b"X\x01\x00\x00\x00~"), id="order"
        ),
        pytest.param(b"\x80\x02}X\x04\x00\x00\x00datacnumpy\nndarray\n)Rs.", id="nothing-in-an-array"),
        pytest.param(b"\x80\x02}X\x04\x00\x00\x00datacnumpy\nndarray\n)R(K\x01)K\x01K\x00K\x00tbs.", id="kind"),
    ],
)
def test_a_broken_pickle_is_one_clear_line(tmp_path, content):
    (tmp_path / "test").write_bytes(content)

    with pytest.raises(UsageError, match="fetch CIFAR-100's python version anew") as told:
        pickles.read(tmp_path / "test")

    assert "\n" not in str(told.value)


def test_an_array_larger_than_its_bytes_is_refused(tmp_path):
    whole = pickle.dumps({"data": ROWS}, protocol=2)
    assert whole.count(b"K\x03K\x04\x86") == 1
    (tmp_path / "test").write_bytes(whole.replace(b"K\x03K\x04\x86", b"K\xffK\xff\x86"))

    with pytest.raises(UsageError, match=r"an array of shape \(255, 255\) in 12 bytes"):
        pickles.read(tmp_path / "test")


def test_a_memo_of_one_large_number_takes_no_memory(tmp_path):
    (tmp_path / "test").write_bytes(b"\x80\x02}r\xff\xff\xff\xef.")

    assert pickles.read(tmp_path / "test") == {}


@given(st.data())
def test_damage_is_read_or_refused_never_fatal(tmp_path_factory, data):
    whole = bytearray(pickle.dumps({b"data": ROWS, b"fine_labels": [1, 2, 3]}, protocol=2))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / "test"
    path.write_bytes(whole)

    try:
        found = pickles.read(path)
    except UsageError:
        return

    assert isinstance(found, dict)


def test_bytes_that_a_file_only_claims_to_have_take_no_memory(tmp_path):
    path = tmp_path / "test"
    path.write_bytes(b"\x80\x05}C\x04data" + pickle.BYTEARRAY8 + struct.pack("<Q", 1 << 28) + b"abcs.")

    tracemalloc.start()
    with pytest.raises(UsageError, match="no pickle that can be read safely: it ends within 268435456 bytes"):
        pickles.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1 << 24
