"""Where there is room to write: a disk that is full, limited or read-only, told in one line."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clip_bench.errors import ClipBenchError, StoreError

LEAST = 2**20  # bytes: a tool that leaves less free may have cut its file without a word
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
UNWRITABLE = frozenset(
    {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
)


@contextmanager
def filling(root: Path, folder: Path, name: str) -> Iterator[None]:
    """Around tools that write *name* into *folder* of the cache *root*: that there was no room is told.

    Tools raise what they like for it, or nothing.

    Raises:
        StoreError: there is no room.
    """
    try:
        yield
    except ClipBenchError:
        raise
    except Exception as exc:
        if reason := _full(exc) or _cut(folder):
            raise StoreError(_more(root, name, reason)) from exc
        raise
    if reason := _cut(folder):
        raise StoreError(_more(root, name, reason))


@contextmanager
def writable(root: Path, name: str) -> Iterator[None]:
    """Around what writes *name* into the cache *root*: the system's errors there are told.

    Raises:
        StoreError: it is full, read-only, no folder, or somebody else's.
    """
    try:
        yield
    except OSError as exc:
        if reason := _full(exc):
            raise StoreError(_more(root, name, reason)) from exc
        if exc.errno in UNWRITABLE and exc.filename is not None and Path(exc.filename).is_relative_to(root):
            msg = (
                f"{root} has no {name} that is whole, and none can be written there ({exc.strerror}): "
                "set CLIP_BENCH_CACHE to a folder that you can write"
            )
            raise StoreError(msg) from exc
        raise


def _full(exc: BaseException | None) -> str:
    """What the system said if *exc*, or what it was raised from, is for want of room."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in FULL:
            return exc.strerror or "no room"
        exc = exc.__cause__ or exc.__context__
    return ""


def _cut(folder: Path) -> str:
    """Why files in *folder* may be cut, of whatever a tool reported."""
    if any(path.lstat().st_size >= _limit_bytes() for path in folder.iterdir()):
        return "a file has reached this process's limit, as of ulimit -f"
    return "the disk is full" if _free_bytes(_place(folder)) < LEAST else ""


def _more(folder: Path, name: str, reason: str) -> str:
    place = _place(folder)
    others = "TMPDIR" if place != folder else "CLIP_BENCH_CACHE"
    free = f"{_free_bytes(place) / 1e6:,.1f} MB free"
    return (
        f"no room to write {name} into {place} ({reason}; {free}): make room, as by clip-bench cache prune, "
        f"or set {others} to a folder that has more"
    )


def _place(folder: Path) -> Path:
    """*folder*, or that for temporary files if it is that one which is full: quantizers write there first."""
    temporary = Path(tempfile.gettempdir())
    return temporary if _free_bytes(temporary) < LEAST <= _free_bytes(folder) else folder


def _free_bytes(folder: Path) -> float:
    """What is free in the file system of *folder*, or of the nearest folder above that is there; some do not tell."""
    used = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.is_dir()))
    return used.free if used.total else float("inf")


def _limit_bytes() -> float:
    """The most that this process may write into one file."""
    try:
        import resource
    except ImportError:  # Windows
        return float("inf")
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return float("inf") if limit == resource.RLIM_INFINITY else limit
