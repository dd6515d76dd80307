"""Locks of files that processes share: one that builds is alone, those that use a file are together.

The kernel releases a lock with its holder, however that ends: no lock is ever stale.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from tempfile import gettempdir

from filelock import FileLock, Timeout

from clip_bench.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open can be neither removed nor moved: its descriptor is the lock
    fcntl = None  # type: ignore[assignment]  # a module, where there is one

LOCKS = "CLIP_BENCH_LOCKS"
FIRST_S, AGAIN_S = 5.0, 60.0  # how long to wait in silence, and between two words after that
PLAINLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # neither through a link nor waiting for a pipe
SHOWN = 200  # characters of what a holder wrote

_log = logging.getLogger(__name__)


@contextmanager
def timing(doing: str, say: Callable[[str], object] = _log.warning) -> Iterator[None]:
    """Have this machine alone, for who times something: as :func:`alone`, of one user or of all that share a folder.

    ``CLIP_BENCH_LOCKS`` names that folder, for users and containers of one machine; without it each user has a lock.

    Raises:
        StoreError: the lock cannot be kept.
    """
    shared_by = os.environ.get(LOCKS)
    folder = Path(shared_by or Path(gettempdir(), f"clip-bench-{_user()}"))
    path = folder / "machine.lock"
    with ExitStack() as stack:
        try:
            folder.mkdir(mode=0o777 if shared_by else 0o700, parents=True, exist_ok=True)
            if not shared_by:
                _own(folder)
            elif not path.exists():
                path.touch()
                path.chmod(0o666)
            stack.enter_context(alone(path, doing, say))
        except OSError as exc:
            msg = f"{path}: no lock can be kept there ({exc.strerror}): set {LOCKS} to a folder that can be written"
            raise StoreError(msg) from exc
        yield


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else getuser()


def _own(folder: Path) -> None:
    """OSError where *folder*, whose name anybody can guess, is a link or somebody else's."""
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or (hasattr(os, "getuid") and state.st_uid != os.getuid()):
        raise PermissionError(errno.EPERM, "it is somebody else's", str(folder))


@contextmanager
def alone(path: Path, doing: str, say: Callable[[str], object] = _log.warning) -> Iterator[None]:
    """Hold the lock file *path*, which says who does what; whoever waits for it says so, with these words.

    Raises:
        StoreError: the file system has no locks.
        OSError: the file cannot be made or opened for writing.
    """
    lock, patience_s = _lock(path), FIRST_S
    while not _acquired(lock, patience_s, path):
        say(f"waiting for {_holder(path)}; if it hangs, end it: its lock goes with it")
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
