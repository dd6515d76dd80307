"""Figures and texts as cells of a markdown table; what was not measured is '-'."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import quote

import pandas as pd
from tabulate import tabulate

from clip_bench import witness
from clip_bench.plain import printable

ABSENT = "-"
HEXADECIMAL = re.compile(r"[0-9a-f]{64}")
SHORT = 80  # characters of a reason that still leave a table readable


def fixed(value: object, digits: int = 2) -> str:
    """A number with *digits* decimals and no negative zero."""
    if not isinstance(value, int | float) or pd.isna(value):
        return ABSENT
    return f"{round(value, digits) + 0.0:.{digits}f}"


def millis(value: object) -> str:
    """Milliseconds, with two decimals; below 1 ms three, below 0.1 ms four."""
    small = [bound for bound in (1, 0.1) if isinstance(value, int | float) and value < bound]
    return fixed(value, 2 + len(small))


def micros(value: object) -> str:
    """Milliseconds as whole microseconds."""
    return fixed(1e3 * value if isinstance(value, int | float) else value, 0)


def unproven(samples: int, needed: int) -> str:
    """Why a percentile is not there: more calls than these would have to be made."""
    return f"n/a (n={samples}, needs {needed})"


def factor(value: object) -> str:
    """A bare factor: one decimal, none from 100 on."""
    return fixed(value, 1 if isinstance(value, int | float) and abs(value) < 100 else 0)  # noqa: PLR2004  three digits


def times(value: object) -> str:
    """A factor: '2.09x'."""
    text = fixed(value)
    return text if text == ABSENT else f"{text}x"


def points(value: object) -> str:
    """A change in percentage points, with its sign: '+0.3', '-1.2', '0.0'."""
    text = fixed(value, 1)
    return text if text in {ABSENT, "0.0"} or text.startswith("-") else f"+{text}"


def clean(text: str) -> str:
    """A text that cannot break out of its cell: printable, in one line, with pipes, tags and links as entities."""
    return printable(text).replace("|", "&#124;").replace("<", "&lt;").replace("](", "]&#40;") or ABSENT


def words(frame: pd.DataFrame) -> pd.DataFrame:
    """*frame* with every text in it :func:`clean`: names of models, targets and variants are a file's word, too."""
    texts = frame.select_dtypes("object").map(lambda value: clean(value) if isinstance(value, str) and value else value)
    return frame.assign(**{str(name): texts[name] for name in texts})


def linked(name: str, folder: str = "") -> str:
    """A link to the file *name*.json of a run, beside the page or in *folder*."""
    return f"[{clean(name)}.json]({folder}{'/' if folder else ''}{quote(os.fsencode(name))}.json)"


def witnessed(head: str) -> str:
    """The beginning of the head of a witness; a dash where a file has none."""
    return f"`{head[: witness.SHOWN]}`" if HEXADECIMAL.fullmatch(head) else ABSENT


def shorten(text: str) -> str:
    """At most :data:`SHORT` characters of *text*, cut at a word."""
    line = " ".join(text.split())
    return line if len(line) <= SHORT else f"{line[:SHORT].rsplit(' ', 1)[0]} …"


def markdown(headers: Sequence[str], cells: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table whose first *left* columns are words and whose others are figures, aligned in its source, too.

    The layout is tabulate's ``pipe``: GitHub's with the alignment told, so that figures stand on the right.
    """
    sides = ["left" if index < left else "right" for index in range(len(headers))]
    return tabulate(cells, headers=headers, tablefmt="pipe", disable_numparse=True, colalign=sides if cells else None)
