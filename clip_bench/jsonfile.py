"""JSON files: read, or one line that says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from clip_bench import files
from clip_bench.errors import UsageError


def load(path: Path, give: str) -> Any:  # noqa: ANN401  whatever the file holds
    """What the JSON file at *path* holds; *give* is what the reader should give instead.

    Raises:
        UsageError: it cannot be read, is not UTF-8 or not JSON, or is nested too deeply.
    """
    try:
        data = files.read(path)
        try:
            return from_json(
                data
            )  # three times as fast; what it refuses, and json takes, is a byte order mark or half a character
        except ValueError:
            return json.loads(data.decode("utf-8-sig"))
    except OSError as exc:
        msg = f"{path}: cannot be read ({exc.strerror or exc}); {give}"
    except RecursionError:
        msg = f"{path}: nested too deeply; {give}"
    except ValueError as exc:
        msg = f"{path}: not JSON ({exc}); {give}"
    raise UsageError(msg)
