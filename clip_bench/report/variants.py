"""The words of a variant, apart: those that say what a call is, and those that say how the graph was made or is run."""

from __future__ import annotations

import re

CALL = re.compile(r"batch\d+|throughput|instances\d+|queue\d+|devices\d+(?:_\d+)*|fresh|trimmed|folded")
CALIBRATED = re.compile(r"(?:minmax|percentile|entropy)_\d+")


def bare(variant: str) -> str:
    """*variant* without the words of its batch, its load and what it is fed, which the boundary tells as well."""
    return _without(CALL, variant)


def uncalibrated(variant: str) -> str:
    """*variant* as that of a float graph, which has no calibration."""
    return _without(CALIBRATED, variant)


def _without(words: re.Pattern[str], variant: str) -> str:
    return "-".join(word for word in variant.split("-") if not words.fullmatch(word))
