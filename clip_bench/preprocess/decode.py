"""An encoded picture to pixels: what is none, is damaged, or is too large to trust is refused with one line."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from clip_bench.data import folders
from clip_bench.data.folders import DAMAGE, FORMATS
from clip_bench.errors import UsageError
from clip_bench.plain import said

CHANNELS = {"L": "mono", "RGB": "rgb", "RGBA": "rgba"}  # kornia-rs's names for the modes whose PNG it decodes
SIGNATURE, AROUND = b"\x89PNG\r\n\x1a\n", 12  # before a PNG's chunks, and the bytes of one that are not its own
END = b"\0\0\0\0IEND\xaeB`\x82"  # a PNG's last chunk, which Pillow heeds and kornia-rs does not
_REMARKS = threading.Lock()  # the filters of warnings are the process's


def opened(stored: bytes) -> Image.Image:
    """The picture's mode and size; its pixels are not decoded yet.

    Raises:
        UsageError: no picture, a damaged header, more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, or one side more
            than :data:`~clip_bench.data.folders.NARROWEST` times the other.
    """
    with refusing():
        with _REMARKS, warnings.catch_warnings():  # remarks on odd metadata; a size is judged below
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(stored), formats=FORMATS)
        check(image.size)
        return image


def picture(stored: bytes) -> Image.Image:
    """The first frame of an encoded picture, decoded by Pillow, in its own mode; EXIF's orientation is not heeded.

    Raises:
        UsageError: as :func:`opened`, or the pixels are damaged.
    """
    return loaded(opened(stored))


def loaded(image: Image.Image) -> Image.Image:
    """*image* with its pixels decoded by Pillow; UsageError where they are damaged."""
    with refusing():
        image.load()
    if image.mode == "P":
        image.info.pop("transparency", None)  # RGB has none, of which Pillow would warn
    return image


def fastest(stored: bytes) -> Image.Image:
    """The same pixels as :func:`picture`, by the fastest decoder here: a plain PNG by kornia-rs where it is installed.

    Pillow decodes all else, and what kornia-rs refuses: it has the last word on what is damaged. A JPEG too: measured,
    libjpeg-turbo through simplejpeg saves less than Pillow's way to its own pixels costs.

    Raises:
        UsageError: as :func:`picture`.
    """
    image = opened(stored)
    if isinstance(image, PngImageFile) and _plain(image) and _ended(stored) and _kornia():
        return _from_kornia(stored, image) or loaded(image)
    return loaded(image)


def scaled(stored: bytes, size: Callable[[int, int], tuple[int, int]]) -> Image.Image:
    """As :func:`fastest`, but a JPEG at the smallest of 1, 1/2, 1/4 and 1/8 that is at least *size* of its own size.

    Raises:
        UsageError: as :func:`picture`.
    """
    image = opened(stored)
    if image.format not in {"JPEG", "MPO"}:
        return fastest(stored)
    with refusing():
        image.draft(image.mode, size(*image.size))
    return loaded(image)


def _plain(image: PngImageFile) -> bool:
    """Whether a PNG is one picture of 8 bits per channel, top to bottom: Pillow's raw mode is then the mode."""
    plain = image.mode in CHANNELS and [tile[3] for tile in image.tile] == [image.mode]
    return plain and not image.is_animated and not image.info.get("interlace")


def _ended(stored: bytes) -> bool:
    """Whether each chunk of a PNG is as long as it says, up to the last one: kornia-rs stops after the pixels."""
    place = len(SIGNATURE)
    while place < len(stored):
        place += AROUND + int.from_bytes(stored[place : place + 4], "big")
    return place == len(stored) and stored.endswith(END)


@cache
def _kornia() -> bool:
    return find_spec("kornia_rs") is not None


def _from_kornia(stored: bytes, image: Image.Image) -> Image.Image | None:
    from kornia_rs import io as kornia

    try:
        pixels = kornia.decode_image_png_u8(stored, (image.height, image.width), CHANNELS[image.mode])
    except Exception:  # noqa: BLE001  it raises no narrower one
        return None
    return Image.fromarray(pixels[..., 0] if image.mode == "L" else pixels)


def check(size: tuple[int, int]) -> None:
    """UsageError where *size*, (width, height), is more than can be resized safely."""
    width, height = size
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        msg = f"{width} × {height} pixels are more than the {most} that are decoded: make it smaller"
        raise UsageError(msg)
    try:
        folders.check(size)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what Pillow raises on a bad file into one line that says what is wrong with it."""
    try:
        yield
    except UnidentifiedImageError as exc:
        msg = f"no picture of a known format: give {', '.join(FORMATS)}"
        raise UsageError(msg) from exc
    except Image.DecompressionBombError as exc:
        msg = f"more pixels than the {Image.MAX_IMAGE_PIXELS} that are decoded: make it smaller"
        raise UsageError(msg) from exc
    except DAMAGE as exc:
        told = getattr(exc, "strerror", None) or said(exc)
        msg = f"damaged: {told}: get the file anew"
        raise UsageError(msg) from exc
