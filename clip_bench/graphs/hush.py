"""Silence for a vendor's toolchain that cannot be quiet."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO


@dataclass(slots=True)
class Printed:
    """What was printed; empty until the printing is over."""

    text: str = ""


@contextmanager
def hushed() -> Iterator[Printed]:
    """Keep all that the process prints, its C libraries included, from the terminal; what it was is given at the end.

    Warnings are left out: they are about the vendor's own use of Python.
    """
    printed = Printed()
    with TemporaryFile() as log, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _flush()
        kept = {number: os.dup(number) for number in (1, 2)}
        try:
            for number in kept:
                os.dup2(log.fileno(), number)
            with redirect_stdout(_stream(1)), redirect_stderr(_stream(2)):
                yield printed
        finally:
            _flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
            log.seek(0)
            printed.text = log.read().decode(errors="replace")


def _stream(number: int) -> IO[str]:
    """A stream that is never closed: a vendor's logger keeps the first that it sees."""
    return open(number, "w", buffering=1, encoding="utf-8", closefd=False)


def _flush() -> None:
    """Write out what Python and C hold back."""
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        ctypes.CDLL(None).fflush(None)
