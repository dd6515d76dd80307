"""Places that a user names: a path on this machine, or a URI such as ``s3://bucket/runs`` that fsspec has a driver for.

A place elsewhere answers to the names of ``Path`` that readers use, so that they need not know where a file is. What holds
for local files holds for these: no more than so many bytes of one are read, and only of what is a file.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from clip_bench import files
from clip_bench.errors import ClipBenchError, UnavailableError, UsageError

URI = re.compile(r"[A-Za-z][\w+.-]+(?:::[\w+.-]+)*://")  # one letter alone is a drive of Windows
DEEPEST = 32  # folders within folders: links of a web server may go round for ever
PAGE = "text/html"  # what web servers answer for a folder
STREAMED = {"http": 0, "https": 0}  # bytes of a block: none, for servers that cannot send a part of a file


@dataclass(frozen=True, slots=True, order=True)
class Remote:
    """A file or a folder that fsspec reaches; ``uri`` is what people are shown of it, without a password or a signature."""

    uri: str = field(compare=False)  # a system may spell it in several ways
    path: str
    system: Any = field(compare=False, repr=False)  # of fsspec, which has no types

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, below: str | os.PathLike[str]) -> Remote:
        return self._at(f"{self.path.rstrip('/')}/{PurePosixPath(below)}")

    @property
    def name(self) -> str:
        """The last part."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """What the last part ends in: ``.json``."""
        return self._pure.suffix

    @property
    def parent(self) -> Remote:
        """The folder that it is in."""
        return self._at(self.path.rstrip("/").rpartition("/")[0])

    def exists(self) -> bool:
        """Whether something is there.

        Raises:
            UsageError: it cannot be reached.
        """
        return self._told() is not None

    def is_dir(self) -> bool:
        """Whether it is a folder, or the page by which a web server lists one.

        Raises:
            UsageError: it cannot be reached.
        """
        told = self._told() or {}
        listing = told.get("mimetype") == PAGE and self.suffix != ".json"  # a server may call any file a page
        return told.get("type") == "directory" or listing

    def rglob(self, pattern: str) -> Iterator[Remote]:
        """The files in this folder, at any depth, whose names fit *pattern*.

        Raises:
            UsageError: a folder cannot be reached.
        """
        left, seen = [(self.path.rstrip("/"), 0)], set()
        while left:
            folder, depth = left.pop()
            with self.reached():
                found = self.system.ls(folder, detail=True)
            for each in found:
                path = str(each["name"]).rstrip("/")
                if path in seen or path == folder or ".." in path.split("/"):
                    continue
                seen.add(path)
                if each["type"] == "directory":
                    left += [(path, depth + 1)] if depth < DEEPEST else []
                elif fnmatchcase(path.rpartition("/")[2], pattern):
                    yield self._at(path)

    def read(self, most: int) -> bytes:
        """What the file holds.

        Raises:
            OSError: it is no file, is larger than *most* bytes, or is not there; ``strerror`` says which.
            UsageError: it cannot be reached.
        """
        with self.reached():
            told = self.system.info(self.path)
            if told["type"] == "directory":
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.uri)
            if told["type"] != "file":
                raise OSError(errno.EINVAL, "no regular file", self.uri)
            if (told.get("size") or 0) > most:
                raise OSError(errno.EINVAL, f"{told['size']} bytes: more than {most} are not read", self.uri)
            with self._open() as file:
                return files.parts(file, self.uri, most)

    @contextmanager
    def opened(self, *, seekable: bool = False) -> Iterator[IO[bytes]]:
        """What the file holds, bit by bit; not every web server has a *seekable* one.

        Raises:
            UsageError: it cannot be reached, then or later.
        """
        with self.reached():
            file = self._open(seekable=seekable)
        with file, io.BufferedReader(_Stream(self, file)) as stream:
            yield stream

    def _open(self, *, seekable: bool = False) -> Any:  # noqa: ANN401  of fsspec, which has no types
        block = None if seekable else STREAMED.get(urlsplit(self.path).scheme)
        return self.system.open(self.path, "rb", **({} if block is None else {"block_size": block}))

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(urlsplit(self.uri).path)

    def _at(self, path: str) -> Remote:
        return Remote(uri=_shown(self.system.unstrip_protocol(path)), path=path, system=self.system)

    def _told(self) -> dict[str, Any] | None:
        """What the system tells of it; None where nothing is there."""
        try:
            with self.reached():
                told: dict[str, Any] = self.system.info(self.path)
                return told
        except FileNotFoundError:
            return None

    def write(self, held: bytes) -> None:
        """*held* as this file, under another name until it is whole.

        Raises:
            UsageError: it cannot be written.
        """
        partial = f"{self.parent.path}/.{self.name}.partial"
        with self.reached():
            self.system.makedirs(self.parent.path, exist_ok=True)
            self.system.pipe_file(partial, held)
            self.system.mv(partial, self.path)

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Whatever a driver raises as ours, or as a system's error that says in words what is wrong."""
        try:
            yield
        except ClipBenchError:
            raise
        except Exception as exc:  # each driver has errors of its own, which need not be OSError
            cause = exc.__cause__ if isinstance(exc, FileNotFoundError) else exc  # a web server's 404, or none at all
            if cause is None or getattr(cause, "status", None) == 404:  # noqa: PLR2004  as HTTP has it
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.uri) from exc
            if isinstance(cause, OSError) and cause.filename == self.uri:  # said above, or by files
                raise
            msg = (
                f"{self.uri}: cannot be reached ({_said(cause)}); are its address, the network and what its driver "
                "signs in with right?"
            )
            raise UsageError(msg) from exc


class _Stream(io.RawIOBase):
    """A file of a driver, whose errors while it is read are ours."""

    def __init__(self, place: Remote, file: IO[bytes]) -> None:
        self._place, self._file = place, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  any buffer that can be written
        with self._place.reached():
            held = self._file.read(len(buffer))
        buffer[: len(held)] = held
        return len(held)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


Place = Path | Remote


def of(text: str) -> Place:
    """The place that *text* names; a URI of this machine's own files is a path.

    Raises:
        UsageError: nothing has a driver for such a URI, or none can be reached.
        UnavailableError: fsspec or the driver is not installed.
    """
    if not URI.match(text):
        return Path(text)
    if text.lower().startswith("file://"):
        return _local(text, urlsplit(text))
    try:
        from fsspec.core import url_to_fs
    except ImportError as exc:
        msg = f"{_shown(text)}: what lies elsewhere is read with fsspec: pip install 'clip-bench[remote]'"
        raise UnavailableError(msg) from exc
    try:
        system, path = url_to_fs(text)
    except ImportError as exc:
        msg = f"{_shown(text)}: its driver for fsspec is not installed ({_said(exc)})"
        raise UnavailableError(msg) from exc
    except Exception as exc:  # each driver has errors of its own
        msg = f"{_shown(text)}: fsspec cannot open it ({_said(exc)}); give a path, or a URI such as s3://bucket/runs"
        raise UsageError(msg) from exc
    return Remote(uri=_shown(text), path=str(path), system=system)


def inside(folder: Place, pattern: str) -> Sequence[Place]:
    """The files in *folder*, at any depth, whose names fit *pattern*, in the order of their names.

    Raises:
        UsageError: it is elsewhere, and cannot be reached.
    """
    return sorted(folder.rglob(pattern), key=str) if isinstance(folder, Remote) else sorted(folder.rglob(pattern))


def read(place: Place, most: int = files.LARGEST) -> bytes:
    """What the file at *place* holds.

    Raises:
        OSError: it is no regular file, is larger than *most* bytes, or cannot be read; ``strerror`` says which.
        UsageError: it is elsewhere, and cannot be reached.
    """
    return place.read(most) if isinstance(place, Remote) else files.read(place, most)


@contextmanager
def opened(place: Place, *, seekable: bool = False) -> Iterator[IO[bytes]]:
    """The file at *place*, to be read bit by bit, however large it is, in any order where it has to be *seekable*.

    Raises:
        OSError: it is no regular file, or cannot be opened; ``strerror`` says which.
        UsageError: it is elsewhere, and cannot be reached.
    """
    if isinstance(place, Remote):
        with place.opened(seekable=seekable) as stream:
            yield stream
    else:
        with files.opened(place) as stream:
            yield stream


def write(place: Place, held: bytes) -> None:
    """*held* as the file at *place*, whole or not at all; folders that it needs are made.

    Raises:
        OSError: it cannot be written here.
        UsageError: it is elsewhere, and cannot be written there.
    """
    if isinstance(place, Remote):
        place.write(held)
        return
    with files.whole(place) as partial:
        partial.write_bytes(held)


def key(place: Place) -> str:
    """By which two names of one file are told to be one."""
    return f"{place.uri} {place.path}" if isinstance(place, Remote) else os.path.realpath(place)


def _local(text: str, parts: SplitResult) -> Path:
    if parts.netloc.lower() not in {"", "localhost"}:
        msg = f"{text}: a URI of this machine's files has three slashes: file:///folder/run.json"
        raise UsageError(msg)
    return Path(url2pathname(parts.path))


def _shown(uri: str) -> str:
    """*uri* without a user, a password and a signature."""
    if "@" not in uri and "?" not in uri:
        return uri
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _said(exc: BaseException) -> str:
    """An error's words in one line, with its kind where they are few."""
    words = " ".join(str(exc).split())
    return f"{type(exc).__name__}: {words}" if words else type(exc).__name__
