"""The user's data by path: a named data set in its usual form, or whatever a folder or caption file holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from clip_bench.data import Samples, captioned, classes, folders, labelled, parquet
from clip_bench.data import listing as listings
from clip_bench.data.listing import Listing
from clip_bench.errors import UsageError

READERS: Mapping[str, Callable[[Path, Path | None], Listing]] = {
    "imagenet": labelled.imagenet,
    "cifar100": labelled.cifar100,
    "mini_imagenet": labelled.mini_imagenet,
    **{name: partial(captioned.karpathy, name=name) for name in ("flickr8k", "flickr30k", "coco")},
    "conceptual": captioned.conceptual,
    "parquet": parquet.read,
}

_log = logging.getLogger(__name__)


def listing(kind: str, path: Path, root: Path | None = None) -> Listing:
    """The pictures of the data set *kind* at *path*, unopened; without a kind those that :func:`folders.read` finds.

    *root* is where the pictures lie that a file names, if not beside it.

    Raises:
        UsageError: nothing there can be used.
    """
    if kind:
        return READERS[kind](path, root)
    found = folders.read(path)
    base = path if path.is_dir() else path.parent
    rows = zip(found.pictures, found.labels, found.captions, strict=True)
    return Listing(
        name=found.name,
        entries=tuple(listings.file(base, picture.name, label, words) for picture, label, words in rows),
        expected=len(found.pictures) + len(found.problems),
        classes=found.classes,
        templates=classes.of("imagenet").templates,
        problems=found.problems,
    )


def split(kind: str, path: Path, root: Path | None, calibration: int, evaluation: int) -> tuple[Samples, Samples]:
    """At most *calibration* and *evaluation* pictures that share no content, the same ones everywhere.

    What is not there, or cannot be opened, is logged and counted.

    Raises:
        UsageError: nothing there can be used, or fewer than two different pictures.
    """
    if kind:
        whole = listing(kind, path, root)
        parts = listings.split(whole, calibration, evaluation)
        broken = parts[0].problems[len(whole.problems) :]
        if parts[0].problems or whole.expected != len(whole.entries):
            _log.warning("%s", whole.summary(broken))
        return parts
    if root is not None:
        msg = "--data-root goes with a data set's name: --data NAME:FILE"
        raise UsageError(msg)
    found = folders.read(path)
    if found.problems:
        _log.warning("%s%s", path, listings.told(found.problems))
    return folders.split(found, calibration, evaluation)
