"""A data set as it lies on disk: what each file should be, none of them opened until it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL.Image import Image

from clip_bench import plain
from clip_bench.data import NO_LABEL, Picture, Samples, assemble, folders
from clip_bench.errors import UsageError

SHOWN = 5  # problems that a summary names; it counts the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One picture that a data set names: *stored* gives its bytes, and *decode* makes a picture of them."""

    name: str
    stored: Callable[[], bytes]
    label: int = NO_LABEL
    captions: tuple[str, ...] = ()
    decode: Callable[[bytes], Image] = folders.decode

    def opened(self) -> tuple[Image, str]:
        """The picture and the sha256 of its bytes.

        Raises:
            UsageError: it is not usable, and why.
        """
        return folders.opened(self.name, self.stored, self.decode)

    def picture(self) -> Picture:
        """The picture for :class:`Samples`, decoded once to the end.

        Raises:
            UsageError: it is not usable, and why.
        """
        _, sha256 = self.opened()
        return Picture(name=self.name, sha256=sha256, open=partial(_open, self.stored, self.decode))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The entries of a data set, in its own order, and how many there should be.

    ``templates`` make a class's prompts: the first is that of a single prompt, all of them an ensemble. ``expected``
    is what the data set, or the file that describes it, has; ``problems`` name what of it is not here, and why.
    """

    name: str
    entries: tuple[Entry, ...]
    expected: int
    classes: tuple[str, ...] = ()
    templates: tuple[str, ...] = (folders.TEMPLATE,)
    problems: tuple[str, ...] = ()

    def summary(self, more: Sequence[str] = ()) -> str:
        """How many pictures there are of how many, and the first problems: its own, and *more* found on opening."""
        found = len(self.entries) - len(more)
        return f"{self.name}: {self.expected:,} expected, {found:,} found{told([*self.problems, *more])}"


def told(problems: Sequence[str]) -> str:
    """The first of *problems* in one line, and how many there are; empty where there is none."""
    if not problems:
        return ""
    rest = len(problems) - SHOWN
    shown = "; ".join(map(plain.line, problems[:SHOWN]))
    return f"; {len(problems):,} left out: {shown}{f'; and {rest:,} more' if rest > 0 else ''}"


def file(root: Path, name: str, label: int = NO_LABEL, captions: tuple[str, ...] = (), *, at: str = "") -> Entry:
    """The entry of the file *name*, which lies at *root*, in *at* or there itself."""
    return Entry(name=name, stored=partial(folders.stored, root / (at or name)), label=label, captions=captions)


def ranked(entries: Sequence[Entry]) -> list[int]:
    """Rows in an order that depends on names alone: the same everywhere, and no file is opened for it."""
    keys = [hashlib.sha256(entry.name.encode(errors="surrogateescape")).hexdigest() for entry in entries]
    return sorted(range(len(keys)), key=lambda row: (keys[row], row))


def split(listing: Listing, calibration: int, evaluation: int) -> tuple[Samples, Samples]:
    """Two parts that share no file content: at most *calibration* and *evaluation* pictures, in the listing's order.

    As :func:`folders.split`, but by the hash of names, since only what is taken is read: evaluation takes the first
    that can be used, calibration the last. A bad file's place goes to the next one.

    Raises:
        UsageError: fewer than two different pictures can be used.
    """
    rank, problems = ranked(listing.entries), list(listing.problems)
    first = _taken(listing, rank, evaluation, set(), problems)
    seen = {picture.sha256 for picture in first.values()}
    last = _taken(listing, [row for row in reversed(rank) if row not in first], calibration, seen, problems)
    if calibration and first and not last:  # few pictures: one content is left to calibrate on
        spared = list(first.values())[-1].sha256
        last = {row: picture for row, picture in first.items() if picture.sha256 == spared}
        first = {row: picture for row, picture in first.items() if picture.sha256 != spared}
    if not first or (calibration and not last):
        msg = f"{listing.summary(problems[len(listing.problems) :])}: calibration and evaluation need two different pictures"
        raise UsageError(msg)
    noted = tuple(dict.fromkeys(problems))
    return _samples(listing, last, noted), _samples(listing, first, noted)


def _taken(listing: Listing, rows: Iterable[int], most: int, seen: set[str], problems: list[str]) -> dict[int, Picture]:
    """The first *most* usable pictures of *rows* whose content was not *seen*; *problems* grows by the others."""
    found: dict[int, Picture] = {}
    for row in rows:
        if len(found) == most:
            break
        try:
            picture = listing.entries[row].picture()
        except UsageError as exc:
            problems.append(str(exc))
            continue
        if picture.sha256 not in seen:
            found[row] = picture
    return found


def _samples(listing: Listing, chosen: dict[int, Picture], problems: tuple[str, ...]) -> Samples:
    rows = [(chosen[row], listing.entries[row].label, listing.entries[row].captions) for row in sorted(chosen)]
    return assemble(
        listing.name,
        rows,
        classes=listing.classes,
        prompts=tuple(listing.templates[0].format(name) for name in listing.classes),
        problems=problems,
    )


def _open(stored: Callable[[], bytes], decode: Callable[[bytes], Image]) -> Image:
    return decode(stored())
