"""Tables in so many columns of a terminal: fewer figures rather than lines that wrap."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tabulate import tabulate

# The short headings of the hardware table, the most telling first.
TELLING = (
    *("Avg ms", "Acc %", "Similarity", "P90 linear ms", "Avg /s", "Max ms", "Min ms", "Degrad %"),
    *("Max /s", "Min /s"),
)
BAR = "|"
NOTE = "Figures that do not fit {columns} columns are left out: clip-bench report has them all."


def fits(text: str, columns: int) -> bool:
    """Whether no line of *text* would wrap."""
    return all(len(line) < columns for line in text.splitlines())


def table(heads: Sequence[str], lines: Sequence[Sequence[str]], columns: int) -> str:
    """Rows of words and figures, with those of :data:`TELLING` that fit; the first of them in any case."""
    words = [_cut(word, columns // 2) for word, *_ in lines]
    text, kept = "", [name for name in TELLING if name in heads[1:]][:1]
    for name in TELLING:
        tried = [head for head in heads[1:] if head == name or head in kept]
        cells = [[word, *(line[heads.index(head)] for head in tried)] for word, line in zip(words, lines, strict=True)]
        sides = ["left", *("right" for _ in tried)]
        laid = tabulate(cells, headers=["", *tried], tablefmt="simple", disable_numparse=True, colalign=sides)
        if not text or fits(laid, columns):
            text, kept = laid, tried
    return text


def blocks(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows of platform, model and figures with the platform on a row of its own; the tower is in the heading."""
    found = []
    for platform, model, *figures in lines:
        if platform:
            found.append([f"{platform}:", *("" for _ in figures)])
        _, _, rest = model.partition(", ")
        found.append([f"- {rest or model}", *figures])
    return found


def wrapped(text: str, columns: int) -> str:
    """*text* with its paragraphs wrapped at words; rows of tables stay whole."""
    lines = []
    for line in text.splitlines():
        whole = len(line) < columns or line.startswith(BAR)
        lines += [line] if whole else textwrap.wrap(line, columns - 1, break_on_hyphens=False)
    return "\n".join(lines)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 2]}.."
