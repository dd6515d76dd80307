"""Documents from where a client has them: pictures from an HTTP server on this machine, texts with the request."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL.Image import Image

from clip_bench.errors import UnavailableError, UsageError

TIMEOUT_S = 30.0
HOST = "127.0.0.1"
# A process of its own takes no turns with this one; it ends with its standard input, however this one ends.
SERVER = f"""
import sys, threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
server = ThreadingHTTPServer(("{HOST}", 0), partial(SimpleHTTPRequestHandler, directory=sys.argv[1]))
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
"""

Found = bytes | str | NDArray[Any] | UsageError  # what is had of a document by now, or what is wrong with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Documents by name, and how they become what a model takes; both steps take a whole batch."""

    documents: Sequence[str]
    fetch: Callable[[Sequence[str]], Sequence[Found]]
    prepare: Callable[[Sequence[Found]], Sequence[Found]]


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The files of *folder* over HTTP, on a port of the loopback, by a process of its own.

    Raises:
        UnavailableError: it does not start.
    """
    command = [sys.executable, "-I", "-c", SERVER, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:  # noqa: S603  ourselves
        try:
            told = process.stdout.readline() if process.stdout else ""
            if not told:
                msg = f"no HTTP server could be started on {HOST}: is the loopback there?"
                raise UnavailableError(msg)
            yield int(told)
        finally:
            process.terminate()


def pictures(
    names: Sequence[str], port: int, pool: ThreadPoolExecutor, transform: Callable[[bytes], NDArray[Any]]
) -> Source:
    """Files of a server at *port*, fetched and decoded by the threads of *pool*; each fetch is a connection."""
    fetched, pixels = partial(_fetched, port), partial(_pixels, transform)
    return Source(
        documents=names,
        fetch=lambda batch: list(pool.map(fetched, batch)),
        prepare=lambda found: list(pool.map(pixels, found)),
    )


def texts(documents: Sequence[str], tokens: Callable[[Sequence[str]], NDArray[Any]]) -> Source:
    """Texts as they are: they come with the request, so nothing is fetched."""
    return Source(
        documents=documents,
        fetch=list,
        prepare=lambda found: list(tokens([str(each) for each in found])),
    )


def _fetched(port: int, name: str) -> bytes | UsageError:
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"/{name}")
        answer = connection.getresponse()
        read = answer.read()
    except (OSError, HTTPException) as exc:
        return UsageError(f"not fetched: {exc or type(exc).__name__}")
    finally:
        connection.close()
    return read if answer.status == 200 else UsageError(f"not fetched: {answer.status} {answer.reason}")  # noqa: PLR2004


def _pixels(transform: Callable[[bytes], NDArray[Any]], found: Found) -> Found:
    if not isinstance(found, bytes):
        return found
    try:
        return transform(found)
    except UsageError as exc:
        return exc


def jpeg(picture: Image, quality: int) -> bytes:
    """*picture* as the bytes of a JPEG file."""
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality)
    return written.getvalue()
