"""The way from a case to its artifact, end to end: what is damaged on disk is made anew, and once."""

from dataclasses import replace

import pytest

from clip_bench import loading
from clip_bench.models import catalog
from clip_bench.specs import Case, Device, Format, Precision, Target, Tower

CASE = Case(
    model=catalog.MODELS["shapes_tiny"],
    tower=Tower.TEXT,
    target=Target(backend="onnxruntime", device=Device.CPU),
    precision=Precision.INT8_DYNAMIC,
)


def unlink(path):
    path.unlink()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def alter(path):
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2] ^= 1
    path.write_bytes(stored)


@pytest.mark.parametrize("damage", [unlink, truncate, alter])
def test_a_damaged_artifact_heals_itself(small, damage):
    first = loading.build(CASE, Format.ONNX, small)
    whole = first.file(".onnx").read_bytes()

    damage(first.file(".onnx"))
    healed = loading.build(CASE, Format.ONNX, small)

    assert healed.file(".onnx").read_bytes() == whole
    assert replace(healed, built_s=0, steps=()) == replace(first, built_s=0, steps=())


def test_a_whole_artifact_is_not_built_again(small):
    first = loading.build(CASE, Format.ONNX, small)
    before = first.file(".onnx").stat().st_mtime_ns

    again = loading.build(CASE, Format.ONNX, small)

    assert again == first
    assert again.file(".onnx").stat().st_mtime_ns == before
