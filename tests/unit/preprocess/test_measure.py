"""Variants are held against the reference on the same pictures, in turns."""

import io
import sys
from itertools import count

import numpy as np
import pytest
from PIL import Image

from clip_bench.errors import UnavailableError, UsageError
from clip_bench.models.catalog import MODELS
from clip_bench.preprocess import VARIANTS, Variant, find, fused, measure, transform
from clip_bench.preprocess.measure import Captions

SHAPES = MODELS["shapes_tiny"]
PURE = [name for name in VARIANTS if name not in {"opencv_cubic", "opencv_area", "decoded"}]


def encoded(seed, file="PNG", mode="RGB"):
    rows = np.random.default_rng(seed).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(rows).resize((300, 240)).convert(mode).save(target, file)
    return target.getvalue()


PICTURES = {"a.png": encoded(1), "b.jpg": encoded(2, "JPEG"), "c.png": encoded(3)}


def means(rows):
    """An embedding of four: the mean of each channel, and one that is always there."""
    return np.concatenate([rows.mean(axis=(2, 3)), np.ones((len(rows), 1), np.float32)], axis=1)


def measured(stored=PICTURES, names=PURE, **told):
    return measure.measure(stored, SHAPES, means, rounds=3, names=names, **told)


def test_the_reference_comes_first_and_differs_in_nothing():
    row = measured(names=["grey"]).rows[0]

    assert (row.name, row.ratio, row.processed_diff, row.encode_diff) == ("open_clip", 1.0, 0.0, 0.0)
    assert row.cosine == pytest.approx(1.0, abs=1e-12)
    assert row.same == 1.0


def test_what_each_variant_changes_is_told():
    rows = {row.name: row for row in measured().rows}

    assert list(rows) == PURE
    assert rows["rgb_first"].processed_diff == 0.0
    assert rows["fused"].processed_diff <= 1e-4
    assert rows["fused"].encode_diff <= 1e-4
    assert rows["grey"].processed_diff > 0.05
    assert rows["grey"].cosine < rows["fused"].cosine


def test_seconds_are_those_of_the_change_alone_per_picture(monkeypatch):
    clock = count(1)
    slow = Variant(make=fused.transform, before=lambda data: next(clock) and data, differs="")
    monkeypatch.setitem(measure.VARIANTS, "fused", slow)

    rows = measured(names=["fused", "grey"], clock=lambda: float(next(clock))).rows

    assert [row.rounds_s for row in rows] == [(1.0, 1.0, 1.0)] * 3


def test_recall_is_the_share_of_captions_that_find_their_picture():
    told = np.eye(3, dtype=bool)
    asked = []

    def captions(names):
        asked.extend(names)
        return Captions(
            rows=means(np.stack([transform("open_clip", SHAPES)(data) for data in PICTURES.values()])), positives=told
        )

    rows = {row.name: row for row in measured(captions=captions).rows}

    assert asked == list(PICTURES)
    assert rows["open_clip"].recall == rows["fused"].recall == 1.0
    assert rows["grey"].recall < 1.0


def test_one_picture_has_no_rank():
    rows = measured(stored={"a.png": PICTURES["a.png"]}).rows

    assert {(row.same, row.recall) for row in rows} == {(None, None)}


def test_bad_files_are_named_and_the_others_measured():
    found = measured(stored={"bad.png": b"no", **PICTURES, "cut.jpg": PICTURES["b.jpg"][:500]})

    assert found.pictures == tuple(PICTURES)
    assert sorted(found.skipped) == ["bad.png", "cut.jpg"]
    assert len(found.rows) == len(PURE)


def test_nothing_but_bad_files_gives_no_rows():
    found = measured(stored={"bad.png": b"no"})

    assert (found.rows, found.pictures) == ((), ())


def test_a_variant_without_its_package_is_left_out_with_what_to_install(monkeypatch):
    def gone(_):
        msg = "install it"
        raise UnavailableError(msg)

    monkeypatch.setitem(measure.VARIANTS, "grey", Variant(make=gone, differs=""))

    found = measured()

    assert found.missing == {"grey": "install it"}
    assert [row.name for row in found.rows] == [name for name in PURE if name != "grey"]


@pytest.mark.parametrize("name", ["opencv_cubic", "opencv_area", "decoded"])
def test_without_opencv_its_variants_say_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)

    with pytest.raises(UnavailableError, match=r"pip install 'clip-bench\[pixels\]'"):
        transform(name, SHAPES)


def test_a_name_that_is_none_is_told_with_those_there_are():
    with pytest.raises(UsageError, match="called 'sharp': give one of open_clip, rgb_first, grey"):
        find("sharp")


def test_more_pictures_than_are_held_at_a_time_are_all_compared(monkeypatch):
    whole = measured()
    monkeypatch.setattr(measure, "PART", 2)
    parts = measured()

    told = [(row.name, row.processed_diff, row.encode_diff, row.same) for row in whole.rows]
    assert [(row.name, row.processed_diff, row.encode_diff, row.same) for row in parts.rows] == told


def test_opencv_differs_as_a_proper_resize_does():
    pytest.importorskip("cv2", reason="needs opencv-python-headless: pip install 'clip-bench[pixels]'")

    rows = {row.name: row for row in measured(names=["opencv_cubic", "opencv_area", "decoded"]).rows}

    assert rows["decoded"].processed_diff == rows["opencv_area"].processed_diff
    assert 0 < rows["opencv_area"].processed_diff < 0.3
    assert 0 < rows["opencv_cubic"].processed_diff < 0.5
