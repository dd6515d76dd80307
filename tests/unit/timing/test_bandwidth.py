"""Memory is read past the last cache, or the figure says that it may not have been."""

import math
import threading
from types import SimpleNamespace

import numpy as np
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


def test_the_note_of_too_little_memory_names_the_cache(folder):
    found = bandwidth.measure(1, available=8 * MIB, folder=folder)

    assert found.note == (
        "the memory that is free is too little to get past the last cache (2 MiB): this may be its speed"
    )


def test_notes_stand_beside_each_other(tmp_path):
    found = bandwidth.measure(1, available=64 * MIB, folder=tmp_path)

    assert found.note == (
        "less than four times the last cache, for want of free memory; "
        "the system does not tell the size of its last cache"
    )


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [
        (["32K", "1G"], 1 << 30),
        (["3072K", "64K"], 3 << 20),
        (["64", "x", "K", "1.5M", ""], None),
        (["7T", "8K"], 8 << 10),
    ],
    ids=["giant", "large_first", "strange", "one_strange"],
)
def test_the_last_cache_is_the_largest_of_those_whose_size_is_told(tmp_path, sizes, largest):
    for number, size in enumerate(sizes):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(size)

    assert bandwidth._last_cache(tmp_path) == largest


def test_every_thread_reads_a_part_of_its_own_and_all_of_it_counts(folder, monkeypatch):
    """Of five passes the best counts, each by a clock that is read before and after it."""
    clock = iter([0.0, 4.0, 10.0, 12.0, 20.0, 20.5, 30.0, 33.0, 40.0, 41.0])
    monkeypatch.setattr(bandwidth.time, "perf_counter", clock.__next__)

    found = bandwidth.measure(3, available=1024 * MIB, folder=folder)

    assert found.buffer_bytes == 8 * MIB // 24 * 24
    assert found.read_bytes_s == found.buffer_bytes / 0.5
    assert found.note == ""


def test_all_parts_are_read_at_the_same_time_once_in_a_pass(folder, monkeypatch):
    """Each part was written before, or the system would read one page of zeros over and over."""
    together, seen = threading.Barrier(2, timeout=10), []

    def read(part):
        together.wait()
        seen.append((part.size, set(part[[0, -1]].tolist())))

    monkeypatch.setattr(bandwidth, "np", SimpleNamespace(**vars(np) | {"bitwise_or": SimpleNamespace(reduce=read)}))

    found = bandwidth.measure(2, available=1024 * MIB, folder=folder)

    assert seen == [(found.buffer_bytes // 8 // 2, {1})] * 2 * bandwidth.PASSES


def test_the_free_memory_is_the_systems_where_nobody_tells_it(folder):
    assert bandwidth.measure(1, folder=folder).buffer_bytes == 8 * MIB
