"""Data sets of classes: ImageNet's validation set, mini-ImageNet and CIFAR-100, as they lie on a user's disk."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clip_bench import files
from clip_bench.data import captions, classes, pickles
from clip_bench.data.listing import Entry, Listing, file
from clip_bench.errors import UsageError

IMAGENET = 50_000  # pictures of the validation set
MINI = 60_000  # 600 of each of 100 classes (Vinyals et al. 2016)
CIFAR: Mapping[str, int] = {"test": 10_000, "train": 50_000}
SIDE = 32  # pixels of a CIFAR picture
PICTURES = "images"  # the folder beside mini-ImageNet's CSV files

Problem = str
Found = tuple[list[Entry], list[Problem]]


def imagenet(path: Path, root: Path | None) -> Listing:
    """The validation set: class folders named by wnid or class name, or a list of ``FILE label`` lines.

    A label is the number of a class from 0, or a wnid; files lie in *root*, or beside the list.

    Raises:
        UsageError: nothing there is of this form.
    """
    known = classes.of("imagenet")
    numbers = known.numbers()
    if path.is_dir():
        entries, problems = _folders(path, numbers)
    else:
        numbers = {wnid: i for i, wnid in enumerate(known.wnids)} | {str(i): i for i in range(len(known.names))}
        rows = (_halves(line) for line in _lines(path))
        entries, problems = _listed(rows, root or path.parent, [""], numbers)
    return _listing("imagenet", path, entries, problems, known, IMAGENET)


def mini_imagenet(path: Path, root: Path | None) -> Listing:
    """Class folders named by wnid, or a CSV of the columns filename and label with an ``images`` folder beside it.

    The classes are those that are there, so that a split is scored among its own.

    Raises:
        UsageError: nothing there is of this form.
    """
    known = classes.of("imagenet")
    if path.is_dir():
        labels = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        numbers = {label: i for i, label in enumerate(labels)}
        entries, problems = _folders(path, numbers)
        expected = MINI
    else:
        rows = list(_csv(path))
        labels = sorted({label for _, label in rows if label})
        numbers = {label: i for i, label in enumerate(labels)}
        entries, problems = _listed(rows, root or path.parent, [PICTURES, ""], numbers)
        expected = len(rows)
    wnids = dict(zip(known.wnids, known.names, strict=True))
    own = classes.Classes(
        names=tuple(wnids.get(each, each.replace("_", " ")) for each in labels), templates=known.templates
    )
    return _listing("mini_imagenet", path, entries, problems, own, expected)


def cifar100(path: Path, root: Path | None) -> Listing:  # noqa: ARG001  every reader takes one
    """The python version's ``test`` or ``train`` file, the folder with it (its ``test``), or class folders by name.

    Raises:
        UsageError: nothing there is of this form, or the file is no pickle that can be read safely.
    """
    known = classes.of("cifar100")
    pickled = next((each for each in (path, path / "test", path / "cifar-100-python" / "test") if each.is_file()), None)
    if pickled is None:
        entries, problems = _folders(path, known.numbers())
        return _listing("cifar100", path, entries, problems, known, CIFAR["test"])
    entries, problems = _pickled(pickled, len(known.names))
    return _listing("cifar100", path, entries, problems, known, CIFAR.get(pickled.name, len(entries) + len(problems)))


def _listing(
    name: str, path: Path, entries: list[Entry], problems: list[Problem], known: classes.Classes, expected: int
) -> Listing:
    made = Listing(
        name=name,
        entries=tuple(entries),
        expected=expected,
        classes=known.names,
        templates=known.templates,
        problems=tuple(problems),
    )
    if not entries:
        msg = f"{path}: no picture of {made.summary()}; docs/data.md shows the forms that are read"
        raise UsageError(msg)
    return made


def _folders(path: Path, numbers: Mapping[str, int]) -> Found:
    """Every file in a folder of a known class, however deep; what is hidden is passed over."""
    entries: list[Entry] = []
    problems = []
    for folder in sorted(path.iterdir() if path.is_dir() else (), key=lambda each: each.name):
        if folder.name.startswith("."):
            continue
        label = numbers.get(folder.name, numbers.get(classes.spoken(folder.name)))
        if label is None or not folder.is_dir():
            problems.append(
                f"{folder.name}: {'the folder of no one class' if folder.is_dir() else 'in no class folder'}"
            )
            continue
        names = [f"{folder.name}/{name}" for name in files.below(folder)]
        entries += (file(path, name, label) for name in names)
        problems += [] if names else [f"{folder.name}: no file"]
    return entries, problems


def _listed(rows: Iterable[tuple[str, str]], root: Path, places: list[str], numbers: Mapping[str, int]) -> Found:
    """The files of *rows*, each with a label, that lie in *root* or one of the *places* in it."""
    entries, problems = [], []
    for given, label in rows:
        try:
            name = captions.inside(given)
        except ValueError as exc:
            problems.append(str(exc))
            continue
        inside = (f"{each}/{name}".lstrip("/") for each in places)
        at = next((place for place in inside if os.path.isfile(root / place)), "")  # noqa: PTH113  Path's raises for a long name
        if label not in numbers:
            problems.append(f"{name}: {f'no class is called {label!r}' if label else 'no label'}")
        elif not at:
            problems.append(f"{name}: no such file")
        else:
            entries.append(file(root, name, numbers[label], at=at))
    return entries, problems


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in files.text(path).splitlines() if line.strip()]
    except (OSError, ValueError) as exc:
        msg = f"{path}: {getattr(exc, 'strerror', None) or 'no text in UTF-8'}; a list has lines of FILE label"
        raise UsageError(msg) from exc


def _halves(line: str) -> tuple[str, str]:
    """A file and its label, which is the line's last word."""
    name, _, label = line.strip().replace("\t", " ").rpartition(" ")
    return (name.strip(), label) if name else (label, "")


def _csv(path: Path) -> Iterator[tuple[str, str]]:
    reader = csv.DictReader(_lines(path))
    if not {"filename", "label"} <= set(reader.fieldnames or ()):
        msg = (
            f"{path}: columns {', '.join(reader.fieldnames or ()) or 'missing'}; mini-ImageNet's are filename and label"
        )
        raise UsageError(msg)
    for row in reader:
        yield row["filename"] or "", row["label"] or ""


def _pickled(path: Path, most: int) -> Found:
    """The pictures of a CIFAR file: rows of 3 × 32 × 32 values, with a fine label each."""
    stored = pickles.read(path)
    data, labels, names = stored.get("data"), stored.get("fine_labels"), stored.get("filenames")
    width = 3 * SIDE * SIDE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != width:  # noqa: PLR2004
        msg = f"{path}: no data of rows of {width} bytes; CIFAR-100's files are called test and train"
        raise UsageError(msg)
    if not isinstance(labels, list) or len(labels) != len(data):
        msg = f"{path}: {len(data)} pictures have not as many fine_labels; is it CIFAR-100's own file?"
        raise UsageError(msg)
    entries, problems = [], []
    for row, label in enumerate(labels):
        name = f"{path.name}/{_name(names, row)}"
        if type(label) is int and 0 <= label < most:
            entries.append(Entry(name=name, stored=partial(_row, data, row), label=label, decode=_pixels))
        else:
            problems.append(f"{name}: no class has the number {label!r}")
    return entries, problems


def _name(names: object, row: int) -> str:
    """The picture's name in the file, with its row: names alone are not unique."""
    given = names[row] if isinstance(names, list) and row < len(names) else b""
    return f"{row:05d}" + (f"-{given.decode('latin-1')}" if isinstance(given, bytes) and given else "")


def _row(data: Any, row: int) -> bytes:  # noqa: ANN401  an array
    stored: bytes = data[row].tobytes()
    return stored


def _pixels(stored: bytes) -> Image.Image:
    planes = np.frombuffer(stored, np.uint8).reshape(3, SIDE, SIDE)
    return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))
