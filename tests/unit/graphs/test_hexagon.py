"""Qualcomm's files: the float graph with a finite mask, and every operator quantized as ONNX Runtime's helper has it."""

from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from clip_bench import graphs
from clip_bench.errors import UnsupportedError
from clip_bench.graphs import onnx_file, qnn
from clip_bench.specs import Format, Precision, Tower, Variant

STATIC = [
    pytest.param(Precision.INT8_QDQ, TensorProto.UINT8, id="eight"),
    pytest.param(Precision.A16W8, TensorProto.UINT16, id="sixteen"),
]
FLOAT = {"QuantizeLinear", "DequantizeLinear"}


def build(graph, precision):
    artifact = graphs.build(graph, precision, Format.ONNX_QNN)
    return onnx.load(artifact.file(".onnx")), artifact


def constants(model):
    return {tensor.name: tensor for tensor in model.graph.initializer}


def quantizers(model, kind):
    return [node for node in model.graph.node if node.op_type == kind]


def test_the_float_graph_has_no_infinity_and_answers_as_the_one_it_is_made_of(shapes):
    graph = shapes.graph(Tower.TEXT)
    model, artifact = build(graph, Precision.FP16)
    exported = onnx_file.build(graph, Precision.FP32)

    ours, theirs = (
        onnxruntime.InferenceSession(each.file(".onnx")).run(None, {"tokens": shapes.calibration.tokens[:1]})
        for each in (artifact, exported)
    )

    floats = [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    assert all(np.isfinite(array).all() for array in floats)
    assert min(array.min() for array in floats) == onnx_file.MASK
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-5)
    assert not FLOAT & {node.op_type for node in model.graph.node}


@pytest.mark.parametrize(("precision", "kind"), STATIC)
def test_activations_have_the_asked_width_and_weights_are_unsigned_bytes(shapes, precision, kind):
    model, _ = build(shapes.graph(Tower.TEXT), precision)

    known = constants(model)
    written = Counter(known[node.input[2]].data_type for node in quantizers(model, "QuantizeLinear"))
    products = {node.input[1] for node in model.graph.node if node.op_type in {"MatMul", "Gemm"}}
    read = [node.input[0] for node in quantizers(model, "DequantizeLinear") if node.output[0] in products]
    assert set(written) == {kind}
    assert {known[name].data_type for name in read if name in known} == {TensorProto.UINT8}


@pytest.mark.parametrize(("precision", "kind"), STATIC)
def test_everything_between_is_quantized(shapes, precision, kind):
    """Float reaches an operator from a DequantizeLinear alone, and none is left to be executed in float."""
    model, _ = build(shapes.graph(Tower.IMAGE), precision)

    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    floats = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    inner = [node for node in model.graph.node if node.op_type not in FLOAT]
    sources = Counter(made_by.get(name) for node in inner for name in node.input if name not in constants(model))
    assert set(sources) == {"DequantizeLinear"}, kind
    assert not floats & {name for node in inner for name in node.input}


@pytest.mark.parametrize(("precision", "kind"), STATIC)
def test_no_scale_is_zero_or_infinite(shapes, precision, kind):
    model, _ = build(shapes.graph(Tower.TEXT), precision)

    known = constants(model)
    scales = [numpy_helper.to_array(known[node.input[1]]) for node in model.graph.node if node.op_type in FLOAT]
    assert len(scales) > 100, kind
    assert all(np.isfinite(scale).all() and (scale > 0).all() for scale in scales)


@pytest.mark.parametrize(("precision", "kind"), STATIC)
def test_the_recipe_has_its_settings_the_rows_and_the_tool(shapes, precision, kind):
    _, artifact = build(shapes.graph(Tower.TEXT), precision)

    assert artifact.recipe.items() >= {**asdict(qnn.STATIC[precision]), "ops": []}.items(), kind
    assert artifact.recipe["calibration_sha256"] == shapes.calibration.sha256
    assert artifact.recipe["onnxruntime"] == onnxruntime.__version__


@pytest.mark.parametrize(
    "format",
    [pytest.param(Format.ONNX, id="plain"), pytest.param(Format.ONNX_QNN, id="vendor")],
)
def test_a_variant_changes_how_and_on_how_many_rows_a_file_is_calibrated(shapes, format):  # noqa: A002
    graph = shapes.graph(Tower.TEXT)
    varied = replace(graph, variant=Variant(calibration="percentile_3"))

    plain, other = (graphs.build(each, Precision.INT8_QDQ, format) for each in (graph, varied))

    assert (other.recipe["method"], other.recipe["samples"]) == ("Percentile", 3)
    assert {key for key in other.recipe if other.recipe[key] != plain.recipe[key]} == {"method", "samples"}
    assert other.sha256 != plain.sha256


def test_percentiles_leave_ranges_asymmetric(shapes):
    """Or unsigned activations lose half of their steps; a softmax, all above zero, shows it."""
    varied = replace(shapes.graph(Tower.TEXT), variant=Variant(calibration="percentile_3"))
    model, _ = build(varied, Precision.INT8_QDQ)

    known = constants(model)
    softmax = next(node.output[0] for node in model.graph.node if node.op_type == "Softmax")
    written = next(node for node in quantizers(model, "QuantizeLinear") if node.input[0] == softmax)
    assert numpy_helper.to_array(known[written.input[2]]) == 0


def test_a_precision_without_a_recipe_is_told():
    with pytest.raises(UnsupportedError, match="no recipe makes bf16 in the onnx_qnn format"):
        graphs.build(None, Precision.BF16, Format.ONNX_QNN)
