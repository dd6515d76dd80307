"""Labels and what is said of them: a list on the command line or a file, and the texts that stand for classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip_bench import files
from clip_bench.errors import UsageError

DIGITS = 5  # of a unit row that kernels agree on
PROMPTS = ("single", "ensemble", "name")


def parse(given: str) -> tuple[str, ...]:
    """The lines of the file *given*, or its own parts between commas; brackets around them are VastStreamX's form.

    Raises:
        UsageError: there is no label, or no such file.
    """
    path, there = Path(given), os.path.exists(given)  # noqa: PTH110  Path's raises where many labels are a long name
    try:
        lines = files.text(path).splitlines() if there else None
    except (OSError, ValueError) as exc:
        msg = f"--labels {given}: {getattr(exc, 'strerror', None) or 'no text in UTF-8'}; a label per line"
        raise UsageError(msg) from exc
    if lines is None and "," not in given and ("/" in given or path.suffix in {".txt", ".csv"}):
        msg = f"--labels {given}: no such file; give a file with a label per line, or labels between commas"
        raise UsageError(msg)
    parts = given.removeprefix("[").removesuffix("]").split(",") if lines is None else lines
    labels = tuple(filter(None, (part.strip() for part in parts)))
    if any("\ud800" <= letter <= "\udfff" for label in labels for letter in label):
        msg = f"--labels {given}: no text in UTF-8; give a file of it, with a label per line"
        raise UsageError(msg)
    if not labels:
        msg = f"--labels {given}: no label; give a file with a label per line, or labels between commas"
        raise UsageError(msg)
    return labels


def alike(labels: Sequence[str], rows: NDArray[np.float64]) -> str:
    """Which of *labels* have equal unit *rows*, so that the model cannot tell them apart; empty where none have."""
    groups: dict[bytes, list[str]] = {}
    for label, row in zip(labels, np.round(rows, DIGITS) + 0.0, strict=True):
        groups.setdefault(row.tobytes(), []).append(label)
    several = [", ".join(group) for group in groups.values() if len(group) > 1]
    return f"read alike, so scored alike: {'; '.join(several)}" if several else ""


def texts(names: Sequence[str], templates: Sequence[str], prompts: str) -> list[list[str]]:
    """The texts of each class: by the first of *templates* (``single``), by all (``ensemble``), or the name alone."""
    chosen = {"single": templates[:1], "ensemble": templates, "name": ("{}",)}[prompts]
    return [[template.replace("{}", name) for template in chosen] for name in names]
