"""Buffers that are bound once give what a plain call gives, and share nothing with the next call."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from clip_bench import graphs
from clip_bench.backends import Options
from clip_bench.backends import onnxruntime as backend
from clip_bench.backends.onnxruntime import binding
from clip_bench.specs import Format, Precision, Tower, Variant

TOWERS = [
    pytest.param(Tower.IMAGE, id="vision"),
    pytest.param(Tower.TEXT, id="language"),
    pytest.param(Tower.PAIR, id="both"),
]
WHOLE = (Precision.FP32, Variant())
EDGES = [pytest.param(*WHOLE, id="whole"), pytest.param(Precision.FP16, Variant(half_io=True), id="half_edge")]


def opened(shapes, tower, precision, variant):
    graph = replace(shapes.graph(tower), variant=variant)
    path = graphs.build(graph, precision, Format.ONNX_GPU).file(".onnx")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("precision", "variant"), EDGES)
@pytest.mark.parametrize("tower", TOWERS)
def test_bound_buffers_give_what_a_plain_call_gives(shapes, tower, precision, variant):
    session = opened(shapes, tower, precision, variant)
    plain, bound = binding.caller(session, ""), binding.caller(session, "cpu")

    for feeds in (shapes.fed.calls(tower)[0], shapes.fed.calls(tower)[-1]):
        expected, found = plain(feeds), bound(feeds)
        assert list(found) == list(expected)
        assert all(np.array_equal(found[name], rows) for name, rows in expected.items())
        assert {rows.dtype.name for rows in found.values()} == {"float32"}


@pytest.mark.parametrize(("precision", "variant"), EDGES)
def test_an_answer_is_not_overwritten_by_the_next_call(shapes, precision, variant):
    call = binding.caller(opened(shapes, Tower.IMAGE, precision, variant), "cpu")
    one, other = shapes.fed.calls(Tower.IMAGE)[0], shapes.fed.calls(Tower.IMAGE)[-1]

    first = call(one)["image_embedding"]
    kept = first.copy()
    between = call(other)["image_embedding"]

    assert np.array_equal(first, kept)
    assert not np.array_equal(between, kept)


def test_the_buffers_are_the_same_in_every_call_and_the_feeds_are_left_alone(shapes):
    bound = binding.caller(opened(shapes, Tower.IMAGE, *WHOLE), "cpu")
    places = [value.data_ptr() for value in (*bound.inputs.values(), *bound.outputs.values())]
    asked = shapes.fed.calls(Tower.IMAGE)[:3]
    before = [feeds["image"].copy() for feeds in asked]

    for feeds in asked:
        bound(feeds)

    assert [value.data_ptr() for value in (*bound.inputs.values(), *bound.outputs.values())] == places
    assert all(np.array_equal(feeds["image"], rows) for feeds, rows in zip(asked, before, strict=True))


def test_a_row_with_buffers_is_called_through_them_and_tells_what_its_graph_fused(shapes, monkeypatch):
    """The CPU's row with a card's ways: a format of its own, and buffers."""
    row = replace(backend.PROVIDERS[backend.CPU], bound="cpu", format=Format.ONNX_GPU, note="a note")
    monkeypatch.setitem(backend.PROVIDERS, backend.CPU, row)
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP16, Format.ONNX_GPU)

    session = backend.load(artifact, backend.CPU, Options(precision=Precision.FP16, threads=1))
    answer = session.run(shapes.fed.calls(Tower.IMAGE)[0])["image_embedding"]
    where = session.placement()
    session.close()

    assert isinstance(session.call, binding.Bound)
    assert answer.dtype == np.float32
    assert set(where.nodes) == {where.asked}
    assert where.note == "a note; fused: 4 MultiHeadAttention, 4 QuickGelu, 8 SkipLayerNormalization"
