"""Generated scenes, image folders and caption sets: files to arrays, no runtime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from PIL.Image import Image

NO_LABEL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One image, opened when asked for: ``name`` says which, ``sha256`` is of its file or pixels.

    ``open`` decodes anew at every call, and returns the image as stored: its mode and size are the transform's to
    change. A name is relative to its data, with forward slashes on every platform.
    """

    name: str
    sha256: str
    open: Callable[[], Image] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Pictures with what is known of each: a class, captions, both or neither. Made by ``assemble``.

    ``labels[i]`` is the index of picture i's class in ``classes``, or ``NO_LABEL``; ``captions[i]`` its captions,
    none if empty. ``prompts`` has one text per class. ``sha256`` is over all of it, in order, save names and
    problems: the same data in another folder has the same hash. ``problems`` name the files that were left out,
    and why.
    """

    name: str
    pictures: tuple[Picture, ...]
    labels: tuple[int, ...]
    captions: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    prompts: tuple[str, ...]
    sha256: str
    problems: tuple[str, ...] = ()


def assemble(
    name: str,
    rows: Iterable[tuple[Picture, int, tuple[str, ...]]],
    *,
    classes: tuple[str, ...] = (),
    prompts: tuple[str, ...] = (),
    problems: tuple[str, ...] = (),
) -> Samples:
    """Join rows of picture, label and captions, and hash them: the one place that computes ``Samples.sha256``.

    Raises:
        ValueError: a label is no index of *classes*, or there is not one prompt per class.
    """
    rows = tuple(rows)
    if len(classes) != len(prompts) or any(not NO_LABEL <= label < len(classes) for _, label, _ in rows):
        msg = f"{name}: {len(classes)} classes need {len(classes)} prompts, and labels below {len(classes)}"
        raise ValueError(msg)
    told = [[[picture.sha256, label, captions] for picture, label, captions in rows], classes, prompts]
    return Samples(
        name=name,
        pictures=tuple(picture for picture, _, _ in rows),
        labels=tuple(label for _, label, _ in rows),
        captions=tuple(captions for _, _, captions in rows),
        classes=classes,
        prompts=prompts,
        sha256=hashlib.sha256(json.dumps(told).encode()).hexdigest(),
        problems=problems,
    )


def take(samples: Samples, rows: Iterable[int]) -> Samples:
    """The pictures at *rows*, in that order, with the classes, prompts and problems of the whole.

    Raises:
        IndexError: a row is outside the samples.
    """
    return assemble(
        samples.name,
        ((samples.pictures[row], samples.labels[row], samples.captions[row]) for row in rows),
        classes=samples.classes,
        prompts=samples.prompts,
        problems=samples.problems,
    )
