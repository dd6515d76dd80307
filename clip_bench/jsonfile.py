"""JSON files: read, or one line that says why not."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import ValidationError, from_json

from clip_bench import places
from clip_bench.errors import UsageError
from clip_bench.places import Place


def load(path: Place, give: str) -> Any:  # noqa: ANN401  whatever the file holds
    """What the JSON file at *path* holds; *give* is what the reader should give instead.

    Raises:
        UsageError: it cannot be read or reached, is not UTF-8 or not JSON, or is nested too deeply.
    """
    try:
        stored = places.read(path)
    except OSError as exc:
        msg = f"{path}: cannot be read ({exc.strerror or exc}); {give}"
        raise UsageError(msg) from exc
    return parsed(stored, path, give)


def parsed(stored: bytes, path: Place, give: str) -> Any:  # noqa: ANN401  whatever the file holds
    """What *stored*, the bytes of the JSON file at *path*, hold.

    Raises:
        UsageError: they are not UTF-8 or not JSON, or are nested too deeply.
    """
    try:
        try:
            return from_json(
                stored
            )  # three times as fast; what it refuses, and json takes: a byte order mark, half a character
        except ValueError:
            return json.loads(stored.decode("utf-8-sig"))
    except RecursionError:
        msg = f"{path}: nested too deeply; {give}"
    except ValueError as exc:
        msg = f"{path}: not JSON ({exc}); {give}"
    raise UsageError(msg)


def misfit(root: str, exc: ValueError) -> str:
    """Where the data below *root* first did not fit their schema, and why; of what is no ValidationError its words."""
    first = exc.errors()[0] if isinstance(exc, ValidationError) else {"loc": (), "msg": str(exc)}
    return f"{root}.{'.'.join(map(str, first['loc']))}: {first['msg']}"
