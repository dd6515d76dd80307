"""ONNX Runtime: where nodes run, and one line where it refuses a graph."""

import time
from types import SimpleNamespace

import onnx
import pytest
from onnx import helper

from clip_bench import graphs
from clip_bench.backends import Options, onnxruntime
from clip_bench.errors import UnsupportedError
from clip_bench.specs import Format, Precision, Tower

WHOLE = Options(precision=Precision.FP32, threads=3)


def made(folder, node, *, domain="", opset=21):
    """The bytes of a model of one node, as an artifact's file."""
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (2, 2)) for name in ("x", "y")]
    graph = helper.make_graph([node], "made_up", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    return SimpleNamespace(file=lambda _: path)


def test_every_node_is_on_the_one_provider_and_its_types_are_known_once_it_ran(shapes):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.ONNX)
    session = onnxruntime.load(artifact, onnxruntime.CPU, WHOLE)

    before = session.placement()
    session.run({"image": shapes.calibration.image[:1]})
    after = session.placement()

    assert set(before.nodes) == {before.asked} == {"CPUExecutionProvider"}
    assert before.nodes["CPUExecutionProvider"] > 50
    assert (before.dtypes, set(after.dtypes)) == ({}, {"float"})
    assert session.placement() == after


def test_the_kernels_of_the_first_call_took_some_of_its_time(shapes):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.INT8_QDQ, Format.ONNX)
    session = onnxruntime.load(artifact, onnxruntime.CPU, WHOLE)

    before = session.placement().first_call_s
    began = time.perf_counter()
    session.run({"image": shapes.calibration.image[:1]})
    whole = time.perf_counter() - began
    after = session.placement().first_call_s
    session.run({"image": shapes.calibration.image[:1]})

    assert (before, set(after)) == ({}, {"CPUExecutionProvider"})
    assert set(after["CPUExecutionProvider"]) >= {"float", "uint8"}
    assert 0 < sum(after["CPUExecutionProvider"].values()) < whole
    assert session.placement().first_call_s == after


def test_the_profile_that_tells_the_types_is_gone_with_the_session(shapes):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.ONNX)
    asked, unasked = (onnxruntime.load(artifact, onnxruntime.CPU, WHOLE) for _ in range(2))
    folders = [session.profile for session in (asked, unasked)]

    for session in (asked, unasked):
        session.run({"image": shapes.calibration.image[:1]})
    asked.placement()
    for session in (asked, unasked):
        session.close()

    assert [folder.exists() for folder in folders] == [False, False]


def test_kernels_of_eight_bits_are_told_from_float_ones(shapes):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.INT8_QDQ, Format.ONNX)
    session = onnxruntime.load(artifact, onnxruntime.CPU, WHOLE)

    session.run({"image": shapes.calibration.image[:1]})

    assert set(session.placement().dtypes) == {"float", "uint8"}


def test_the_threads_are_those_asked_for_and_no_more(shapes):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.ONNX)

    settings = onnxruntime.load(artifact, onnxruntime.CPU, WHOLE).session.get_session_options()

    assert (settings.intra_op_num_threads, settings.inter_op_num_threads) == (3, 1)


@pytest.mark.parametrize(
    ("node", "more"),
    [
        pytest.param(helper.make_node("Nope", ["x"], ["y"]), {}, id="no_such_operator"),
        pytest.param(helper.make_node("Nope", ["x"], ["y"], domain="acme"), {"domain": "acme"}, id="no_such_domain"),
        pytest.param(helper.make_node("Relu", ["x"], ["y"]), {"opset": 999}, id="later_opset"),
        pytest.param(helper.make_node("Add", ["x", "lost"], ["y"]), {}, id="lost_tensor"),
    ],
)
def test_a_refused_graph_is_one_line_without_paths(tmp_path, node, more):
    with pytest.raises(
        UnsupportedError, match=r"^ONNX Runtime [\d.]+ refuses the graph on onnxruntime-cpu: .*\w"
    ) as caught:
        onnxruntime.load(made(tmp_path, node, **more), onnxruntime.CPU, WHOLE)

    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("stored", [pytest.param(b"", id="empty"), pytest.param(b"garbage", id="garbage")])
def test_a_file_that_is_no_model_is_refused_too(tmp_path, stored):
    path = tmp_path / "model.onnx"
    path.write_bytes(stored)

    with pytest.raises(UnsupportedError, match=r"refuses the graph on onnxruntime-cpu: .*[Pp]rotobuf"):
        onnxruntime.load(SimpleNamespace(file=lambda _: path), onnxruntime.CPU, WHOLE)
