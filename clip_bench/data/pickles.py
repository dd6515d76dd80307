"""CIFAR's python pickles, read by an unpickler that can make arrays of numbers and builtin containers, and no more.

What a pickle calls numpy's is not: plain functions of this module stand in for the three that an array's pickle names,
and every other global is refused, so no code of the file's choice runs.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clip_bench import files
from clip_bench.errors import UsageError
from clip_bench.plain import said

KINDS = frozenset({"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"})
ARRAYS = frozenset(
    {"numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"}
)
# What a broken or hostile pickle makes the unpickler raise.
DAMAGE = (
    pickle.UnpicklingError, OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, OverflowError,
    MemoryError, RecursionError, struct.error, AssertionError,
)  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """The dictionary that *path* holds, its keys as text and its arrays as arrays.

    Raises:
        UsageError: it is no pickle of a dictionary, or holds something else than arrays and builtin containers.
    """
    try:
        found = _Reader(io.BytesIO(files.read(path)), encoding="bytes").load()
        if not isinstance(found, dict):
            msg = "no dictionary"
            raise ValueError(msg)  # noqa: TRY004  the value of a file, not the type of an argument
        return {_text(key): value.array() if isinstance(value, _Array) else value for key, value in found.items()}
    except DAMAGE as exc:
        told = getattr(exc, "strerror", None) or said(exc)
        msg = f"{path}: no pickle that can be read safely: {told}; fetch CIFAR-100's python version anew"
        raise UsageError(msg) from exc


def _text(key: object) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


class _Kind:
    """What numpy calls a dtype: its letter and size."""

    __slots__ = ("code",)

    def __init__(self, code: object, *_: object) -> None:
        self.code = _text(code).lstrip("|<>=")
        if self.code not in KINDS:
            msg = f"an array of {code!r}"
            raise pickle.UnpicklingError(msg)

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401  of any file
        order = _text(state[1])
        if order not in {"|", "<", ">", "="}:
            msg = f"a byte order {order!r}"
            raise pickle.UnpicklingError(msg)
        self.code = order + self.code.lstrip("|<>=")


class _Array:
    """An array before it is one: bytes, kind, shape and order, checked when the array is made."""

    __slots__ = ("state",)

    def __init__(self, *state: object) -> None:
        self.state = state

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401  of any file
        _, shape, kind, fortran, raw = state
        self.state = (raw, kind, shape, "F" if fortran else "C")

    def array(self) -> NDArray[Any]:
        raw, kind, shape, order = self.state
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        if not isinstance(raw, bytes | bytearray) or not isinstance(kind, _Kind) or not isinstance(shape, tuple):
            msg = "an array that is not of plain numbers"
            raise ValueError(msg)  # noqa: TRY004  the value of a file, not the type of an argument
        dtype = np.dtype(kind.code)
        if not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(raw):
            msg = f"an array of shape {shape} in {len(raw)} bytes"
            raise ValueError(msg)
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")


def _bytearray8(reader: Any) -> None:  # noqa: ANN401  Python's own unpickler, which says nothing of its types
    """As its own, which takes memory for as many bytes as the file says before it looks how many there are."""
    (size,) = struct.unpack("<Q", reader.read(8))
    if len(found := bytearray(reader.read(size))) != size:
        msg = f"it ends within {size} bytes"
        raise pickle.UnpicklingError(msg)
    reader.append(found)


class _Reader(pickle._Unpickler):  # noqa: SLF001  the one in C takes gigabytes for a memo of one large number
    dispatch: ClassVar[dict[int, Callable[[pickle.Unpickler], None]]] = {
        **pickle._Unpickler.dispatch,  # noqa: SLF001  as above
        pickle.BYTEARRAY8[0]: _bytearray8,
    }

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if module in ARRAYS and name in STAND_INS:
            return STAND_INS[name]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes into the old protocols
            return _encoded
        msg = f"it asks for {module}.{name}"
        raise pickle.UnpicklingError(msg)


def _blank(*_: object) -> _Array:
    return _Array()


def _filled(raw: object, kind: object, shape: object, order: object) -> _Array:
    return _Array(raw, kind, shape, order)


def _kind(code: object, *_: object) -> _Kind:
    return _Kind(code)


def _encoded(words: object, *_: object) -> bytes:
    return str(words).encode("latin-1")


STAND_INS: Mapping[str, Callable[..., object]] = {
    "_reconstruct": _blank,
    "ndarray": _blank,
    "dtype": _kind,
    "_frombuffer": _filled,
}
