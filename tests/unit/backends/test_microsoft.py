"""ONNX Runtime: where nodes run, and one line where it refuses a graph."""

from types import SimpleNamespace

import onnx
import pytest
from onnx import helper

from clip_bench import graphs
from clip_bench.backends import Options, onnxruntime
from clip_bench.errors import PlacementError, UnsupportedError
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


def test_every_node_runs_on_the_one_provider(shapes):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.ONNX)

    where = onnxruntime.load(artifact, onnxruntime.CPU, WHOLE).placement()

    assert set(where.nodes) == {"CPUExecutionProvider"}
    assert where.nodes["CPUExecutionProvider"] > 50


def test_the_threads_are_those_asked_for_and_no_more(shapes):
    artifact = graphs.build(shapes.graph(Tower.IMAGE), Precision.FP32, Format.ONNX)

    settings = onnxruntime.load(artifact, onnxruntime.CPU, WHOLE).session.get_session_options()

    assert (settings.intra_op_num_threads, settings.inter_op_num_threads) == (3, 1)


def test_a_node_elsewhere_is_an_error_that_names_the_place():
    parts = [SimpleNamespace(ep_name=name, get_nodes=lambda: [1]) for name in ("CPUExecutionProvider", "AcmeProvider")]
    session = SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)

    with pytest.raises(PlacementError, match="assigned nodes to AcmeProvider, not to CPUExecutionProvider alone"):
        onnxruntime._placement(session)


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
    with pytest.raises(UnsupportedError, match=r"^ONNX Runtime [\d.]+ refuses the graph: .*\w") as caught:
        onnxruntime.load(made(tmp_path, node, **more), onnxruntime.CPU, WHOLE)

    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("stored", [pytest.param(b"", id="empty"), pytest.param(b"garbage", id="garbage")])
def test_a_file_that_is_no_model_is_refused_too(tmp_path, stored):
    path = tmp_path / "model.onnx"
    path.write_bytes(stored)

    with pytest.raises(UnsupportedError, match=r"refuses the graph: .*[Pp]rotobuf"):
        onnxruntime.load(SimpleNamespace(file=lambda _: path), onnxruntime.CPU, WHOLE)
