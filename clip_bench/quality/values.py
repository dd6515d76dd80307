"""Values per sample as text: short enough for a record, and read back to the very numbers that were summed up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_bench.errors import UsageError

DIGITS = 4  # of a drift, which is a difference: of a cosine of 0.9996 these are eight


def told(numbers: NDArray[Any]) -> str:
    """*numbers*, (n,), with :data:`DIGITS` digits, a space between two."""
    if not np.issubdtype(numbers.dtype, np.floating):
        return " ".join(map(str, numbers.astype(np.int64).tolist()))
    return " ".join(f"{number:.{DIGITS}g}" for number in numbers.tolist())


def read(text: str) -> NDArray[np.float64]:
    """The numbers of *text*, (n,).

    Raises:
        UsageError: one is none.
    """
    try:
        return np.array(text.split(), np.float64)
    except ValueError as exc:
        msg = f"the values per sample are no numbers ({exc}); take the file as it was written"
        raise UsageError(msg) from exc


def mean(text: str) -> float:
    """The mean of the numbers of *text*; 0 of none.

    Raises:
        UsageError: as :func:`read`.
    """
    numbers = read(text)
    with np.errstate(invalid="ignore", over="ignore"):
        return float(numbers.mean()) if numbers.size else 0.0
