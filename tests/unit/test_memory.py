"""A peak is what the kernel saw since the reset, or None."""

import gc
import mmap
import os

import numpy as np
import pytest

from clip_bench import memory

MIB = 1 << 20
STATUS = "Name:\tpython\nVmPeak:\t  900000 kB\nVmHWM:\t    3000 kB\nVmRSS:\t    2000 kB\n"

resettable = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak to reset here")


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A /proc/self of our own."""
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "clear_refs").touch()
    monkeypatch.setattr(memory, "PROC", tmp_path)
    return tmp_path


@resettable
def test_memory_that_was_touched_and_freed_counts():
    gc.collect()  # garbage that goes meanwhile would hide the rise

    level = memory.reset()
    with mmap.mmap(-1, 64 * MIB) as block:  # from the system: an allocator may have freed pages to hand out
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1

    assert 60 * MIB < memory.growth_bytes(level) < 128 * MIB


@resettable
def test_a_reset_forgets_the_peak_before_it():
    block = np.ones(64 * MIB, np.uint8)
    del block

    level = memory.reset()

    assert memory.growth_bytes(level) < 32 * MIB


def test_a_reset_asks_the_kernel_for_it_and_returns_the_level(proc):
    level = memory.reset()

    assert (proc / "clear_refs").read_text() == "5"
    assert level == 3000 * 1024


def test_growth_is_the_peak_above_the_level(proc):
    level = memory.reset()
    (proc / "status").write_text(STATUS.replace("3000", "4500"))

    assert memory.growth_bytes(level) == 1500 * 1024


def test_a_peak_below_the_level_is_not_a_growth(proc):
    level = memory.reset()
    (proc / "status").write_text(STATUS.replace("3000", "2999"))

    assert memory.growth_bytes(level) is None


@pytest.mark.parametrize("name", ["clear_refs", "status"])
def test_a_system_without_the_file_has_no_peak(proc, name):
    (proc / name).unlink()
    (proc / name).mkdir()

    assert memory.reset() is None
    assert memory.growth_bytes(memory.reset()) is None


def test_a_system_that_does_not_tell_its_peak_has_none(proc):
    level = memory.reset()
    (proc / "status").write_text("Name:\tpython\n")

    assert memory.reset() is None
    assert memory.growth_bytes(level) is None
