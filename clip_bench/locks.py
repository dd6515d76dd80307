"""Locks of files that processes share: one that builds is alone, those that use a file are together.

The kernel releases a lock with its holder, however that ends: no lock is ever stale.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from clip_bench.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open can be neither removed nor moved: its descriptor is the lock
    fcntl = None  # type: ignore[assignment]  # a module, where there is one

FIRST_S, AGAIN_S = 5.0, 60.0  # how long to wait in silence, and between two words after that
PLAINLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # neither through a link nor waiting for a pipe
SHOWN = 200  # characters of what a holder wrote

_log = logging.getLogger(__name__)


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file *path*, which says who does what; whoever waits for it says so, with these words.

    Raises:
        StoreError: the file system has no locks.
        OSError: the file cannot be made or opened for writing.
    """
    lock, patience_s = _lock(path), FIRST_S
    while not _acquired(lock, patience_s, path):
        _log.warning("waiting for %s; if it hangs, end it: its lock goes with it", _holder(path))
        patience_s = AGAIN_S
    try:
        with suppress(OSError):  # a full disk; Windows, which lets nobody write to a locked file
            since = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}, {doing} since {since}", encoding="utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def at_once(path: Path) -> Iterator[bool]:
    """Whether the lock file *path* is held now, which it is not where another process holds it."""
    lock = _lock(path)
    if not _acquired(lock, 0, path):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def shared(path: Path) -> int:
    """A descriptor of the file *path*, which tells as long as it is open that the file is in use; nothing is written.

    Raises:
        OSError: the file cannot be read, or is just being removed.
    """
    descriptor = os.open(path, os.O_RDONLY | PLAINLY)
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:  # no locks in this file system: nobody removes anything from it
            _log.debug("%s: no locks", path, exc_info=True)
    return descriptor


@contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Whether no process has the file *path* :func:`shared`, in which case none can before the block ends."""
    try:
        descriptor = os.open(path, os.O_RDWR | PLAINLY)
    except PermissionError:
        yield False
        return
    except OSError:  # not there, or no file
        yield True
        return
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except OSError:
        free = False
    try:
        yield free
    finally:
        os.close(descriptor)


def _lock(path: Path) -> FileLock:
    """Refuses to take a file's existence for a lock: one that a killed process left would hold for ever."""
    return FileLock(path, fallback_to_soft=False)


def _acquired(lock: FileLock, patience_s: float, path: Path) -> bool:
    try:
        lock.acquire(timeout=patience_s)
    except Timeout:
        return False
    except OSError as exc:
        if exc.filename is not None:  # of opening it
            raise
        msg = (
            f"{path.parent}: its file system has no file locks ({exc.strerror}): set CLIP_BENCH_CACHE to a local folder"
        )
        raise StoreError(msg) from exc
    return True


def _holder(path: Path) -> str:
    """What the holder of *path* wrote into it, in one line."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            told = stream.read(SHOWN)
    except OSError:
        told = ""
    return "".join(letter for letter in told if letter.isprintable()) or f"another process that holds {path}"
