"""How fast the host's memory can be read: a buffer past the last cache, by as many threads as a run has."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
UNKNOWN_CACHE = 64 << 20  # taken for the last cache where the system does not tell it
PASSES = 5
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Bytes read per second, at best, of ``buffer_bytes`` by ``threads``.

    ``cache_bytes`` is the last cache, None where the system does not tell; ``note`` says what to think of the figure.
    """

    read_bytes_s: float
    buffer_bytes: int
    cache_bytes: int | None
    threads: int
    note: str


def measure(threads: int, *, available: int | None = None, folder: Path = CACHE) -> Bandwidth:
    """The best of some passes over four times the last cache, but no more than a quarter of the *available* bytes.

    Each thread reads its own part by numpy's bitwise_or, which computes next to nothing and runs without Python's lock.
    """
    import psutil

    free = psutil.virtual_memory().available if available is None else available
    cache = _last_cache(folder)
    wanted = 4 * (cache or UNKNOWN_CACHE)
    size = min(wanted, free // 4) // (8 * threads) * 8 * threads
    note = "" if size >= wanted - 8 * threads else _short(size, cache)
    parts = np.split(np.empty(size // 8, np.uint64), threads)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: part.fill(1), parts))  # written, so that its pages exist, each by its reader
        took = []
        for _ in range(PASSES):
            began = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))
            took.append(time.perf_counter() - began)
    if cache is None:
        note = "; ".join(filter(None, (note, "the system does not tell the size of its last cache")))
    return Bandwidth(read_bytes_s=size / min(took), buffer_bytes=size, cache_bytes=cache, threads=threads, note=note)


def _short(size: int, cache: int | None) -> str:
    if cache is not None and size <= cache:
        return f"the memory that is free is too little to get past the last cache ({cache >> 20} MiB): this may be its speed"
    return "less than four times the last cache, for want of free memory"


def _last_cache(folder: Path) -> int | None:
    """The size in bytes of the largest cache that a core has a part in; a virtual machine's may be the whole host's."""
    found = []
    for path in folder.glob("index*/size"):
        text = path.read_text().strip()
        if text[:-1].isdecimal() and text[-1] in UNITS:
            found.append(int(text[:-1]) * UNITS[text[-1]])
    return max(found, default=None)
