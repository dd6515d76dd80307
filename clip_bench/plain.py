"""Words that people read: names and messages come from files, and files may hold anything."""

from __future__ import annotations


def line(text: str) -> str:
    r"""*text* as one line that shows what cannot be printed: ``\n``, ``\x1b`` of an escape sequence, ``\udcff`` of no UTF-8."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def said(exc: BaseException) -> str:
    """What *exc* says, in its first line; of what kind it is where it says nothing."""
    return next(iter(str(exc).splitlines()), "") or type(exc).__name__


def printable(text: str) -> str:
    """*text* as one line without control characters: what a table, a picture (XML) and a terminal may be given."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def plural(count: int, noun: str) -> str:
    """'1 image', '2 images'."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
