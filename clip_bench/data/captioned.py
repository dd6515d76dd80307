"""Caption sets: Karpathy's and COCO's JSON, Flickr's token files and CSV, Conceptual Captions' TSV of local files."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clip_bench import files
from clip_bench.data import captions
from clip_bench.data.listing import Listing, file
from clip_bench.errors import UsageError

# Where the pictures lie beside such a file, in the archives that people unpack.
FOLDERS = ("", "images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k-images", "flickr30k_images", "val2017", "val2014", "train2014")  # fmt: skip
INDICES = ("dataset*.json", "captions*.json", "*.token", "*.token.txt", "captions.txt", "captions.csv", "results.csv")
TOKEN = re.compile(r"(?P<file>[^\t|]+?)(#\d+\t|\|\s*\d+\s*\|)(?P<caption>.*)")  # img.jpg#0<TAB>…, or img.jpg| 0| …
HELD_OUT = "test"  # the split of Karpathy's that scores are published on
ACCEPTED = (
    "accepted: Karpathy's dataset_*.json, COCO's captions_*.json, token files (a.jpg#0<TAB>caption), "
    "CSV with the columns image and caption"
)

Told = Iterator[tuple[str, str]]  # file, as a path inside the data, and one caption


def karpathy(path: Path, root: Path | None, name: str) -> Listing:
    """Flickr8k, Flickr30k or COCO, by whichever of its usual files *path* is, or has in it.

    Of Karpathy's split it is the test part. *root* is where the pictures lie, if not beside the file.

    Raises:
        UsageError: the file is missing, not alone, of another form, or names no file that is here.
    """
    index = _index(path)
    return _listing(name, index, root, _form(index))


def conceptual(path: Path, root: Path | None) -> Listing:
    """Conceptual Captions as a TSV, a caption and a local file in each line; a URL is a problem: nothing is fetched.

    Raises:
        UsageError: the file is missing, not alone, or names no file that is here.
    """
    index = _index(path, ("*.tsv",))
    return _listing("conceptual", index, root, _tsv)


def _index(path: Path, patterns: Iterable[str] = INDICES) -> Path:
    """*path*, or the one file in it that may describe the set."""
    if not path.is_dir():
        return path
    patterns = tuple(patterns)
    found = sorted({each for pattern in patterns for each in path.glob(pattern)})
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or f"none of {', '.join(patterns)}"
        msg = f"{path}: {names}; name the one file of captions, and its pictures' folder by --data-root"
        raise UsageError(msg)
    return found[0]


def _listing(name: str, index: Path, root: Path | None, form: Callable[[Path, list[str]], Told]) -> Listing:
    """What *form* reads of *index*, each file with all its captions, as far as it is here."""
    problems: list[str] = []
    found: dict[str, list[str]] = {}
    try:
        for given, caption in form(index, problems):
            found.setdefault(given, []).append(caption)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as exc:
        said = getattr(exc, "strerror", None) or f"{type(exc).__name__}: {exc}"
        msg = f"{index}: {said}; {ACCEPTED}"
        raise UsageError(msg) from exc
    base, entries = root or index.parent, []
    for given, told in found.items():
        words = tuple(dict.fromkeys(filter(None, (" ".join(captions.whole(caption).split()) for caption in told))))
        at = _at(base, given)
        if at and words:
            entries.append(file(base, given, captions=words, at=at))
        else:
            problems.append(f"{given}: {'no caption' if at else 'no such file'}")
    listing = Listing(name=name, entries=tuple(entries), expected=len(found), problems=tuple(problems))
    if not entries:
        msg = f"{index}: {listing.summary()}; --data-root names the pictures' folder"
        raise UsageError(msg)
    return listing


def _at(base: Path, name: str) -> str:
    """Where *name* lies in *base*: as told, or in one of the usual folders, its own folders aside."""
    last = name.rpartition("/")[2]
    places = (f"{folder}/{each}".lstrip("/") for each in dict.fromkeys((name, last)) for folder in FOLDERS)
    return next((place for place in places if os.path.isfile(base / place)), "")  # noqa: PTH113  Path's raises for a long name


def _form(index: Path) -> Callable[[Path, list[str]], Told]:
    """How to read *index*, by how it begins."""
    try:
        lines = iter(files.text(index, "replace").splitlines())
        first = next((line for line in lines if line.strip()), "").lstrip()
        second = next(lines, "")
    except OSError as exc:
        msg = f"{index}: {exc.strerror}; {ACCEPTED}"
        raise UsageError(msg) from exc
    if first.startswith(("{", "[")):
        return _json
    return _tokens if TOKEN.match(first) or TOKEN.match(second) else _csv


def _json(index: Path, problems: list[str]) -> Told:
    """Karpathy's rows, COCO's images with their annotations, or our own list."""
    stored: Any = json.loads(files.text(index))
    if isinstance(stored, list):
        yield from _own(index, problems, ".json")
        return
    rows = stored["images"]
    if "annotations" not in stored:
        parts = {row.get("split") for row in rows}
        for row in rows:
            if HELD_OUT not in parts or row.get("split") == HELD_OUT:
                name = "/".join(filter(None, (row.get("filepath"), row["filename"])))
                yield from _safe(name, [each["raw"] for each in row["sentences"]], problems)
        return
    told: dict[object, list[str]] = {}
    for note in stored["annotations"]:
        told.setdefault(note["image_id"], []).append(note["caption"])
    for row in rows:
        yield from _safe(row["file_name"], told.get(row["id"], [""]), problems)


def _tokens(index: Path, problems: list[str]) -> Told:
    for number, line in enumerate(files.text(index).splitlines(), start=1):
        match = TOKEN.fullmatch(line)
        if match:
            yield from _safe(match["file"], [match["caption"]], problems)
        elif line.strip() and number > 1:  # the first may be a heading
            problems.append(f"{index.name}, line {number}: no FILE#N and caption")


def _csv(index: Path, problems: list[str]) -> Told:
    yield from _own(index, problems, ".csv")


def _tsv(index: Path, problems: list[str]) -> Told:
    for number, line in enumerate(files.text(index).splitlines(), start=1):
        caption, tab, name = line.partition("\t")
        if number == 1 and caption.strip().lower() == "caption":
            continue
        if not tab or "://" in name:
            what = "a URL, and nothing is fetched: name a local file" if tab else "no caption and file"
            problems.append(f"{index.name}, line {number}: {what}")
            continue
        yield from _safe(name, [caption], problems)


def _own(index: Path, problems: list[str], suffix: str) -> Told:
    """Rows in the form that ``--data`` takes without a name."""
    told: Mapping[str, tuple[str, ...]]
    told, wrong = captions.parse(index, suffix)
    problems += wrong
    for name, several in told.items():
        yield from ((name, caption) for caption in several)


def _safe(name: str, several: Iterable[str], problems: list[str]) -> Told:
    """*several* captions of *name*, unless it leaves the data's folder."""
    try:
        inside = captions.inside(name)
    except ValueError as exc:
        problems.append(str(exc))
        return
    yield from ((inside, caption) for caption in several)
