"""Files that a user names, read and written whole: nothing waits for a pipe, no file is larger than memory, none is half."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import IO

# Bytes of a file that is read at all: a third of the memory of a small machine, and twice the largest list that is
# published for our readers (Conceptual Captions' 3.3 million lines, 0.5 GB).
LARGEST = 1 << 30
PART = 1 << 20  # read at a time: a read of so many bytes takes their memory at once, whatever is there


def read(path: Path, most: int = LARGEST) -> bytes:
    """What the regular file at *path* holds; a link is followed.

    Raises:
        OSError: it is no regular file, is larger than *most* bytes, or cannot be read; ``strerror`` says which.
    """
    with opened(path, most) as file:
        return parts(file, str(path), most)


@contextmanager
def opened(path: Path, most: float = inf) -> Iterator[IO[bytes]]:
    """The regular file at *path*, to be read bit by bit; a link is followed.

    Raises:
        OSError: as :func:`read`.
    """
    if "\0" in str(path):
        raise _refused(str(path), "no file has a zero byte in its name")
    _judge(path, path.stat(), most)  # before it is opened, which a device may take for more than a question
    with open(path, "rb", opener=_unwaiting) as file:  # Path.open takes no opener; it may have become a pipe since
        _judge(path, os.fstat(file.fileno()), most)
        yield file


def parts(file: IO[bytes], name: str, most: int) -> bytes:
    """All that is left of *file*, which is called *name*: it may say that it is empty, as those of /proc do, or grow.

    Raises:
        OSError: it is more than *most* bytes, or cannot be read.
    """
    read, left = [], most
    while part := file.read(PART):
        read.append(part)
        left -= len(part)
        if left < 0:
            raise _refused(name, f"more than {most} bytes are not read")
    return b"".join(read)


def text(path: Path, errors: str = "strict") -> str:
    """The UTF-8 text in the file at *path*, with or without a byte order mark; its lines end in a newline alone.

    Raises:
        OSError: as :func:`read`.
        ValueError: it is not UTF-8, and *errors*, of ``bytes.decode``, do not allow that.
    """
    return read(path).decode("utf-8-sig", errors).replace("\r\n", "\n").replace("\r", "\n")


def below(folder: Path) -> list[str]:
    """The files in *folder* and in all folders below by their names, relative, with forward slashes, in order.

    What is hidden is passed over, and links to folders are not followed.
    """
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(here).relative_to(folder)
        found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside *path* to write, which becomes *path* once it is whole and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _judge(path: Path, state: os.stat_result, most: float) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(state.st_mode):
        raise _refused(str(path), "no regular file")
    if state.st_size > most:
        raise _refused(str(path), f"{state.st_size} bytes: more than {most} are not read")


def _unwaiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refused(name: str, why: str) -> OSError:
    return OSError(errno.EINVAL, why, name)
