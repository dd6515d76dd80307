"""Pictures of the user: class folders and caption sets, every file decoded once before it counts."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from clip_bench import files
from clip_bench.data import NO_LABEL, Picture, Samples, assemble, captions, take
from clip_bench.errors import UsageError
from clip_bench.plain import said

FORMATS = (
    "BMP",
    "GIF",
    "JPEG",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
)  # those that Pillow decodes by itself; EPS runs a program
TEMPLATE = "a photo of a {}."  # the plain one of CLIP's prompts (Radford et al. 2021, section 3.1.4)
ACCEPTED = f"accepted: a folder of class folders with pictures, or pictures with captions ({captions.ACCEPTED})"
NARROWEST = 64  # the longer side over the shorter: open_clip's transform makes 224 × 14336 pixels of 1 × 64
LARGEST = 1 << 28  # bytes of a picture's file: a BMP of as many pixels as are decoded has no more
# What Pillow's decoders raise on damaged files, besides its own errors.
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error, zlib.error)


def read(path: Path) -> Samples:
    """A caption set where *path* is a JSON or CSV file, or a folder with one in it; else a folder of class folders.

    Raises:
        UsageError: *path* is neither, or has nothing usable.
    """
    if path.is_dir():
        return caption_set(path) if _caption_files(path) else image_folder(path)
    if path.is_file() and path.suffix.lower() in captions.SUFFIXES:
        return caption_set(path)
    msg = f"{path}: {'neither a folder nor JSON nor CSV' if path.exists() else 'no such file or folder'}; {ACCEPTED}"
    raise UsageError(msg)


def image_folder(path: Path) -> Samples:
    """One class per folder in *path*, by name; its pictures may lie deeper. No captions.

    A class is called as its folder, with spaces for underscores; folders of one name are one class, and a class
    without a usable picture is left out. Hidden files are passed over; any other that is no picture is a problem.

    Raises:
        UsageError: fewer than two classes have a usable picture: among one class every answer is right.
    """
    found: list[tuple[str, Picture]] = []
    problems: list[str] = []
    for entry in _listed(path.glob("*"), path):
        if not (path / entry).is_dir():
            problems.append(f"{entry}: not in a class folder")
            continue
        good, bad = _gather(path, _listed(_files(path / entry), path))
        found += ((" ".join(entry.replace("_", " ").split()), picture) for picture in good)
        problems += bad if good else [*bad, f"{entry}: no usable picture, so no class"]
    classes = tuple(sorted({name for name, _ in found}))
    if len(classes) < 2:  # noqa: PLR2004  with one there is nothing to confuse
        raise _nothing(path, f"{len(classes)} classes with a usable picture", problems)
    return assemble(
        path.resolve().name,
        ((picture, classes.index(name), ()) for name, picture in found),
        classes=classes,
        prompts=tuple(TEMPLATE.format(name) for name in classes),
        problems=tuple(problems),
    )


def caption_set(path: Path) -> Samples:
    """The pictures that a JSON or CSV file names, with their captions, in its order. No classes.

    *path* is that file, or a folder with one such file in it. The pictures lie in the file's folder or deeper.

    Raises:
        UsageError: the file is missing, not alone, or of another form, or nothing in it is usable.
    """
    told_by = _caption_files(path) if path.is_dir() else [path]
    if len(told_by) != 1:
        msg = f"{path}: {', '.join(file.name for file in told_by) or 'no JSON or CSV'}; name one file of captions"
        raise UsageError(msg)
    root = told_by[0].parent
    told, problems = captions.parse(told_by[0])
    good, bad = _gather(root, told)
    if not good:
        raise _nothing(path, "no usable picture with a caption", [*problems, *bad])
    rows = ((picture, NO_LABEL, told[picture.name]) for picture in good)
    return assemble(root.resolve().name, rows, problems=(*problems, *bad))


def split(samples: Samples, calibration: int, evaluation: int) -> tuple[Samples, Samples]:
    """Two parts that share no file content: at most *calibration* and *evaluation* pictures, in the samples' order.

    Pictures are ranked by their sha256; evaluation takes the first, calibration the last. So the choice is the same
    everywhere, and a new file displaces at most one picture of each part. Where there are too few, evaluation is
    filled first and calibration keeps at least one content.

    Raises:
        UsageError: fewer than two different pictures.
    """
    keys = [picture.sha256 for picture in samples.pictures]
    rank = sorted(range(len(keys)), key=lambda row: (keys[row], row))
    if len(set(keys)) < 2:  # noqa: PLR2004  one for each part
        msg = f"{samples.name}: calibration and evaluation need two different pictures, found {len(set(keys))}"
        raise UsageError(msg)
    spared = keys.count(keys[rank[-1]]) if calibration else 0
    first = rank[: min(evaluation, len(rank) - spared)]
    seen = {keys[row] for row in first}
    last = [row for row in reversed(rank) if keys[row] not in seen][:calibration]
    return take(samples, sorted(last)), take(samples, sorted(first))


def _caption_files(path: Path) -> list[Path]:
    return [path / name for name in _listed(path.glob("*"), path) if name.lower().endswith(captions.SUFFIXES)]


def _files(path: Path) -> Iterable[Path]:
    return (below for below in path.rglob("*") if not below.is_dir())


def _listed(paths: Iterable[Path], root: Path) -> list[str]:
    """Names under *root* with forward slashes, hidden ones left out, in one order on every platform."""
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    return [name for name in names if not any(part.startswith(".") for part in name.split("/"))]


def _gather(root: Path, names: Iterable[str]) -> tuple[list[Picture], list[str]]:
    """The usable pictures, and one line for each of the others."""
    good, bad = [], []
    for name in names:
        try:
            good.append(_picture(root / name, name))
        except UsageError as exc:
            bad.append(str(exc))
    return good, bad


def stored(path: Path) -> bytes:
    """What the regular file at *path* holds, if that is at most :data:`LARGEST` bytes.

    Raises:
        OSError: as :func:`clip_bench.files.read`.
    """
    return files.read(path, LARGEST)


def decode(stored: bytes) -> Image.Image:
    """The first frame, in full. A picture too large to trust is refused; remarks on odd metadata are not passed on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(stored), formats=FORMATS)
        image.load()
    return image


def check(size: tuple[int, int]) -> None:
    """ValueError where a picture's *size*, (width, height), is so narrow that its resize takes gigabytes."""
    if max(size) > NARROWEST * min(size):
        msg = f"{size[0]} × {size[1]} pixels: one side is more than {NARROWEST} times the other: cut it"
        raise ValueError(msg)


def opened(
    name: str, stored: Callable[[], bytes], decode: Callable[[bytes], Image.Image] = decode
) -> tuple[Image.Image, str]:
    """The picture called *name*, decoded to the end, and the sha256 of what was *stored*.

    Raises:
        UsageError: it is not usable, and why, with its name and without its path.
    """
    try:
        read = stored()
        image = decode(read)
        check(image.size)
        return image, hashlib.sha256(read).hexdigest()
    except UnidentifiedImageError as exc:
        msg = f"{name}: no picture of a known format ({', '.join(FORMATS)})"
        raise UsageError(msg) from exc
    except (*DAMAGE, Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        msg = f"{name}: {getattr(exc, 'strerror', None) or said(exc)}"
        raise UsageError(msg) from exc


def _picture(path: Path, name: str) -> Picture:
    """The picture at *path*, decoded once to the end; UsageError says why it is not usable, without *path*."""
    _, sha256 = opened(name, partial(stored, path))
    return Picture(name=name, sha256=sha256, open=partial(_open, path))


def _open(path: Path) -> Image.Image:
    return decode(stored(path))


def _nothing(path: Path, found: str, problems: list[str]) -> UsageError:
    first = f" ({len(problems)} problems, the first: {problems[0]})" if problems else ""
    return UsageError(f"{path}: {found}{first}; {ACCEPTED}")
