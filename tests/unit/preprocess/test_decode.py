"""Files are decoded as Pillow decodes them, or refused with one line that says why."""

import io
import struct
import warnings
import zlib
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_bench.errors import UsageError
from clip_bench.models.catalog import MODELS
from clip_bench.preprocess import VARIANTS, decode, transform

SHAPES = MODELS["shapes_tiny"]


def encoded(rows, file="PNG", **told):
    target = io.BytesIO()
    Image.fromarray(rows).save(target, file, **told)
    return target.getvalue()


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep(rows):
    """A PNG of 16 bits per channel, as Pillow writes none."""
    height, width, _ = rows.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in rows)
    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def told(decoder, file):
    """Its pixels, or what it says of why there are none."""
    try:
        return np.asarray(decoder(file))
    except UsageError as exc:
        return str(exc)


FILES = {
    "colours": encoded(noise(9, 13, 3)),
    "clear": encoded(noise(9, 13, 4)),
    "grey": encoded(noise(9, 13)),
    "a_clear_colour": encoded(noise(9, 13, 3), transparency=(1, 2, 3)),
    "deep": deep(noise(9, 13, 4, dtype=np.uint16)),
    "deep_grey": encoded(noise(9, 13, dtype=np.uint16)),
    "jpeg": encoded(noise(40, 30, 3), "JPEG"),
    "gif": encoded(noise(9, 13), "GIF"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_fastest_decoder_gives_the_pixels_of_pillow(name):
    slow, fast = decode.picture(FILES[name]), decode.fastest(FILES[name])

    assert fast.mode == slow.mode
    assert np.array_equal(np.asarray(fast), np.asarray(slow))


def test_without_its_package_the_fastest_decoder_is_pillow(monkeypatch):
    expected = np.asarray(decode.fastest(FILES["clear"]))
    monkeypatch.setattr(decode, "_kornia", lambda: False)

    assert np.array_equal(np.asarray(decode.fastest(FILES["clear"])), expected)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["colours", "clear", "jpeg", "gif"]),
    at=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
    cut=st.floats(0, 1),
)
def test_a_damaged_file_is_refused_in_one_line_or_decoded_as_pillow_does(name, at, cut):
    broken = bytearray(FILES[name])
    for place, value in at:
        broken[int(place * len(broken))] = value
    broken = bytes(broken[: int(cut * len(broken))]) if cut < 0.5 else bytes(broken)

    slow, fast = told(decode.picture, broken), told(decode.fastest, broken)

    assert np.array_equal(slow, fast)
    assert not isinstance(slow, str) or "\n" not in slow


@pytest.mark.parametrize("end", [b"IMND", b"IEND"], ids=["name", "sum"])
def test_a_picture_whose_last_chunk_is_damaged_is_decoded_as_pillow_does(end):
    """The fuzzer found that kornia-rs does not look at it."""
    broken = FILES["colours"][:-8] + end + b"\xaeB`\x83"

    assert np.array_equal(told(decode.picture, broken), told(decode.fastest, broken))


@pytest.mark.parametrize("length", [3, 4, 5, 0x33333333], ids=["less", "fits", "more", "far_more"])
def test_a_chunk_after_the_pixels_of_any_length_is_taken_as_pillow_does(length):
    """The fuzzer found that kornia-rs does not look at it."""
    whole = FILES["colours"]
    broken = whole[:-12] + length.to_bytes(4, "big") + b"teSt" + bytes(4 + 4) + whole[-12:]

    assert np.array_equal(told(decode.picture, broken), told(decode.fastest, broken))


def wide(width, height):
    """A PNG that claims a size, and has next to no pixels."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def bare(*chunks):
    """A PNG of 5 × 5 RGBA whose pixels are in *chunks*."""
    head = struct.pack(">IIBBBBB", 5, 5, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IEND", b"")


REFUSED = {
    "no_pixels": (bare(), "damaged: |OpenCV cannot decode it"),
    "empty_pixels": (bare(chunk(b"IDAT", b"")), "damaged: |OpenCV cannot decode it"),
    "nothing": (b"", "no picture of a known format: give BMP"),
    "words": (b"hello", "no picture of a known format: give BMP"),
    "script": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no picture of a known format: give BMP"),
    "cut": (FILES["jpeg"][:-300], "damaged: "),
    "bomb": (wide(200_000, 200_000), "more pixels than the 89478485 that are decoded: make it smaller"),
    "large": (wide(10_000, 10_000), "10000 × 10000 pixels are more than the 89478485 that are decoded"),
    "thin": (encoded(noise(65, 1)), "1 × 65 pixels: one side is more than 64 times the other: cut it"),
    "long": (encoded(noise(1, 65, 3)), "65 × 1 pixels: one side is more than 64 times the other: cut it"),
}


OPENCVS = ("opencv_cubic", "opencv_area", "decoded")  # which make up what is missing at a JPEG's end


@pytest.mark.parametrize(
    ("name", "variant"), [each for each in product(REFUSED, VARIANTS) if each not in product(["cut"], OPENCVS)]
)
def test_every_variant_refuses_what_is_no_sound_picture_in_one_line(name, variant):
    if variant in OPENCVS:
        pytest.importorskip("cv2", reason="needs opencv-python-headless: pip install 'clip-bench[pixels]'")
    file, said = REFUSED[name]
    change = transform(variant, SHAPES)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UsageError, match=said) as caught:
            change(file)
    assert "\n" not in str(caught.value)


def test_sixty_four_to_one_is_not_too_thin():
    assert transform("fused", SHAPES)(encoded(noise(64, 1, 3))).shape == (3, 64, 64)
