"""Memory is read past the last cache, or the figure says that it may not have been."""

import math

import pytest

from clip_bench.timing import bandwidth

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path):
    """Three caches, the last of 2 MiB."""
    for number, size in enumerate(("48K", "512K", "2M")):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(f"{size}\n")
    return tmp_path


def test_the_buffer_is_four_times_the_last_cache(folder):
    found = bandwidth.measure(2, available=1024 * MIB, folder=folder)

    assert (found.cache_bytes, found.buffer_bytes, found.threads, found.note) == (2 * MIB, 8 * MIB, 2, "")
    assert math.isfinite(found.read_bytes_s)
    assert found.read_bytes_s > 0


@pytest.mark.parametrize(
    ("available", "size", "note"),
    [(24 * MIB, 6 * MIB, "less than four times the last cache"), (8 * MIB, 2 * MIB, "this may be its speed")],
    ids=["little", "too_little"],
)
def test_no_more_than_a_quarter_of_the_free_memory_is_taken(folder, available, size, note):
    found = bandwidth.measure(1, available=available, folder=folder)

    assert found.buffer_bytes == size
    assert note in found.note


def test_a_cache_that_nobody_tells_is_assumed_and_said(tmp_path):
    found = bandwidth.measure(3, available=64 * MIB, folder=tmp_path)

    assert found.cache_bytes is None
    assert 0 <= 16 * MIB - found.buffer_bytes < 24
    assert "does not tell the size of its last cache" in found.note
